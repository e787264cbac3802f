package rest

import (
	"math"
	"strings"

	"github.com/tidegate/tidegate/vcs"
)

// IsNumber reports whether n can be the number of a pull request.
func IsNumber(n int64) bool { return n > 0 && n <= math.MaxInt32 }

// IsSHA reports whether s is a full commit id, SHA-1 or SHA-256.
func IsSHA(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}

// IsRef reports whether s can be the name of a branch: what git check-ref-format takes below refs/heads/. It may begin
// with a dash, as anybody can push such a branch: it is to be given to git with refs/heads/ before it.
func IsRef(s string) bool {
	if len(s) > 1024 || strings.HasSuffix(s, ".") || strings.Contains(s, "..") || strings.Contains(s, "@{") {
		return false
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r)
	})
}

// Made reports whether s is not empty and made of ASCII letters, digits and the others.
func Made(s, others string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(others, r)
	})
}

// IsName reports whether s can be one element of a request's path: an owner, a repository or a user, by the rules
// that GitHub and Gitea share.
func IsName(s string) bool {
	return len(s) <= 100 && s != "." && s != ".." && Made(s, "-_.")
}

// IsWord reports whether s can be the name of an event or an action.
func IsWord(s string) bool { return len(s) <= 64 && Made(s, "_") }

// IsDelivery reports whether s can be the id of a delivery.
func IsDelivery(s string) bool { return len(s) <= 64 && Made(s, "-") }

// IsNode reports whether s can be a GraphQL id; forges and servers without them leave it out.
func IsNode(s string) bool { return s == "" || len(s) <= 256 && Made(s, "-_=+/") }

// CutText shortens text to so many characters. What is cut shows as an ellipsis.
func CutText(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if r := []rune(s); len(r) > limit {
		return string(r[:limit-1]) + "…"
	}
	return s
}

// CutComment keeps what is read of a comment. One that is cut stays longer than what is read, even
// where the cut falls within a character: what is left of it must not pass for a whole comment.
func CutComment(s string) string {
	const limit = vcs.MaxCommentText + 1
	if len(s) <= limit {
		return s
	}
	cut := strings.ToValidUTF8(s[:limit], "")
	return cut + strings.Repeat("?", limit-len(cut))
}
