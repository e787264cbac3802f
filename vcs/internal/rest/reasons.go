package rest

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tidegate/tidegate/vcs"
)

// What a forge says is in the way of a merge is read by people, in a comment and in a status: so many reasons of so many
// bytes. A name between backticks takes less, so that what is said of it fits as well.
const (
	maxReasons   = 10
	reasonLength = 300
	quoteLength  = 200
)

// Blocked is what is in the way of a merge, cut to what people read.
func Blocked(why ...string) vcs.Mergeable {
	can := vcs.Mergeable{State: vcs.MergeBlocked}
	for i, one := range why {
		if i == maxReasons {
			can.Why = append(can.Why, fmt.Sprintf("and %d more", len(why)-i))
			break
		}
		can.Why = append(can.Why, cutReason(one))
	}
	return can
}

// cutReason shortens a reason. What is cut shows as an ellipsis, and a quote that is cut ends after it.
func cutReason(s string) string {
	s = cutBytes(s, reasonLength-len("`"))
	if strings.Count(s, "`")%2 != 0 {
		s += "`"
	}
	return s
}

// Quote is a name of the forge, or its words, as vcs.Mergeable has them: between backticks, with none within.
func Quote(s string) string {
	s = strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "`", "'")
	return "`" + cutBytes(s, quoteLength) + "`"
}

// cutBytes shortens text to so many bytes, between characters. What is cut shows as an ellipsis.
func cutBytes(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= limit {
		return s
	}
	end := limit - len("…")
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
