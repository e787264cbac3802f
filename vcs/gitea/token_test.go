package gitea_test

import (
	"net/http"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/tidegate/tidegate/vcs/gitea"
	"github.com/tidegate/tidegate/vcs/internal/forgetest"
)

// TestTokenOfAForgeThatIsAway: what is no answer to whether a token may is not taken for a yes.
func TestTokenOfAForgeThatIsAway(t *testing.T) {
	t.Parallel()
	away, slow := forgetest.Reply(http.StatusBadGateway, ``), forgetest.Reply(http.StatusTooManyRequests, ``, "Retry-After", "1")
	missing, fault := forgetest.Reply(http.StatusNotFound, `{"message":"not found"}`), forgetest.Reply(http.StatusInternalServerError, ``)
	no := forgetest.Reply(http.StatusForbidden, `{"message":"token does not have at least one of required scope(s), required=[write:repository], token scope=read:user"}`)
	for _, steps := range [][]forgetest.Step{{away, missing, slow, no}, {fault, away, away, no}} {
		synctest.Test(t, func(t *testing.T) {
			s := &forgetest.Script{Steps: steps}
			got, err := client(t, gitea.Config{HTTP: s}).Token(t.Context(), somePull().Repo)
			if err != nil || !slices.Equal(got.Lacks, []string{"write:repository"}) {
				t.Errorf("Token() = %+v, %v, want that it lacks write:repository", got, err)
			}
			s.CheckSent(t, len(steps))
		})
	}
}
