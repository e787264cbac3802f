package dispatch

import (
	"context"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/vcs"
)

// asked is a command that somebody wrote.
func asked(a ask, user string) ask {
	a.user, a.comment = user, &vcs.Comment{Author: user}
	return a
}

func TestRoomOfAPullRequest(t *testing.T) {
	inLanes(t, func(s *stand) {
		s.room = room{pull: 2}
		s.crowded()
		s.add(1, 1, asked(aPlan(), "ana"))
		s.add(1, 2, asked(aPlan(), "ana"))
		s.add(1, 3, asked(anApply(), "ana"))
		s.add(1, 4, asked(aPlan(), "ana"))              // no room
		s.add(1, 5, aPush())                            // takes none
		s.add(1, 6, asked(ask{kind: askUnlock}, "ana")) // neither does that
		s.add(2, 7, asked(aPlan(), "ana"))              // another pull request
		s.want("begin 1", "begin 4: 2 commands wait on this pull request already", "begin 7")
		s.finish(1)
		s.finish(6)
		s.add(1, 8, asked(aPlan(), "ana"))
		s.want("begin 1", "begin 4: 2 commands wait on this pull request already", "begin 7", "begin 6", "begin 2")
	})
}

func TestRoomOfARepository(t *testing.T) {
	inLanes(t, func(s *stand) {
		s.room = room{pull: 5, repo: 2}
		s.crowded()
		for n := range 3 {
			s.add(n+1, uint64(n+1), asked(aPlan(), "ana"))
		}
		s.add(1, 4, asked(aPlan(), "ana"))
		s.add(2, 5, asked(aPlan(), "ana"))
		s.add(3, 6, asked(aPlan(), "ana"))
		s.want("begin 1", "begin 2", "begin 3", "begin 6: 2 commands wait in this repository already")
	})
}

// TestStrangersKeepNobodyOut: anybody can write a comment.
func TestStrangersKeepNobodyOut(t *testing.T) {
	inLanes(t, func(s *stand) {
		s.room = room{pull: 2}
		s.crowded()
		s.may = func(_ context.Context, it item) bool { return it.ask.user != "eve" }
		s.add(1, 1, asked(aPlan(), "ana"))
		s.add(1, 2, asked(aPlan(), "eve"))
		s.add(1, 3, asked(aPlan(), "eve"))
		s.add(1, 4, asked(anApply(), "ana"))
		got := strings.Join(s.log, ", ")
		if !strings.Contains(got, "begin 2: ") || !strings.Contains(got, "begin 3: ") || strings.Contains(got, "begin 4") {
			t.Errorf("what happened: %s; want the strangers answered, and 4 in line", got)
		}
		s.finish(1)
		if got := s.log[len(s.log)-1]; got != "begin 4" {
			t.Errorf("then came %q, want 4", got)
		}
	})
}

// crowded makes the log say why something was not put in line.
func (s *stand) crowded() {
	tell := s.tell
	s.tell = func(ctx, stop context.Context, it item) {
		if it.crowd != "" {
			s.say("begin %d: %s", it.ev.Seq, it.crowd)
			return
		}
		tell(ctx, stop, it)
	}
}
