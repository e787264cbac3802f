package rest

import (
	"slices"
	"strings"

	"github.com/tidegate/tidegate/vcs"
)

// Says is what a review says.
type Says int

// What a review can say.
const (
	// Nothing: it is talk.
	Nothing Says = iota
	Approves
	Rejects
	// Dismissed: what the user said before counts no more, either.
	Dismissed
)

// Review is one review of a pull request.
type Review struct {
	// User is "" for one who was deleted: that is nobody.
	User string
	Says Says
}

// Approval is what reviews, the oldest first, amount to. Of each user the latest that approves or rejects counts,
// unless it was dismissed; the author's own never does. Only users who may write have a say: anybody who sees a
// repository can review.
func Approval(author string, reviews []Review, may func(user string) (vcs.Permission, error)) (vcs.Approval, error) {
	latest := map[string]Says{}
	for _, r := range reviews {
		switch {
		case r.User == "" || strings.EqualFold(r.User, author) || r.Says == Nothing:
		case r.Says == Dismissed:
			delete(latest, r.User)
		default:
			latest[r.User] = r.Says
		}
	}
	var a vcs.Approval
	for user, says := range latest {
		permission, err := may(user)
		switch {
		case err != nil:
			return vcs.Approval{}, err
		case permission < vcs.WritePermission:
		case says == Approves:
			a.By = append(a.By, user)
		default:
			a.Against = append(a.Against, user)
		}
	}
	slices.Sort(a.By)
	slices.Sort(a.Against)
	a.Approved = len(a.By) > 0 && len(a.Against) == 0
	return a, nil
}

// InOrder sorts comments, the oldest first. None is there twice: one that is deleted while pages are read shifts
// the others.
func InOrder(all []vcs.Comment) []vcs.Comment {
	slices.SortStableFunc(all, func(a, b vcs.Comment) int {
		if d := a.CreatedAt.Compare(b.CreatedAt); d != 0 {
			return d
		}
		return int(min(max(a.ID-b.ID, -1), 1))
	})
	return slices.CompactFunc(all, func(a, b vcs.Comment) bool { return a.ID == b.ID })
}
