package vcstest

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidegate/tidegate/vcs"
)

const noID = 1 << 40 // an id that no forge has given away here

func (s *story) say(body string) vcs.Comment {
	s.Helper()
	c, err := s.Forge.CreateComment(s.ctx, s.Pull, body)
	if err != nil {
		s.Fatalf("CreateComment() error = %v", err)
	}
	return c
}

func (s *story) list(since time.Time) []vcs.Comment {
	s.Helper()
	all, err := s.Forge.Comments(s.ctx, s.Pull, since)
	if err != nil {
		s.Fatalf("Comments() error = %v", err)
	}
	return all
}

func (s *story) remark(id int64) (Remark, bool) {
	s.Helper()
	for _, r := range s.Conversation(s.T) {
		if r.ID == id {
			return r, true
		}
	}
	return Remark{}, false
}

func find(list []vcs.Comment, id int64) (vcs.Comment, bool) {
	for _, c := range list {
		if c.ID == id {
			return c, true
		}
	}
	return vcs.Comment{}, false
}

func (s *story) comments() {
	const body = "### Plan: 1 to add\n\n<!-- tidegate:1 mac=00 -->\n```diff\n+ ü 漢 🌊 & < > \" ' \\\n```\n@everybody #1"
	made := s.say(body)
	if made.ID <= 0 || made.CreatedAt.IsZero() || made.Author != s.Bot || made.Body != body {
		s.Errorf("CreateComment() = %+v, want an id, a time, the author %q and the body", made, s.Bot)
	}
	got, ok := find(s.list(time.Time{}), made.ID)
	if !ok || got.Body != body || got.Author != s.Bot || !got.CreatedAt.Equal(made.CreatedAt) || got.Node != made.Node {
		s.Errorf("Comments() has %+v, want %+v", got, made)
	}
	second := s.say("second")
	if !second.After(made.CreatedAt, made.ID) || made.After(second.CreatedAt, second.ID) {
		s.Errorf("a second comment %+v is not after the first %+v", second, made)
	}
	person := s.Comment(s.T, s.Writer, "plan")
	if c, ok := find(s.list(time.Time{}), person); !ok || c.Author != s.Writer || c.Body != "plan" {
		s.Errorf("Comments() has %+v, want the one by %q", c, s.Writer)
	}

	if err := s.Forge.EditComment(s.ctx, s.Pull, made.ID, "edited"); err != nil {
		s.Errorf("EditComment() error = %v", err)
	}
	if r, _ := s.remark(made.ID); r.Body != "edited" {
		s.Errorf("after EditComment() the forge has %q, want %q", r.Body, "edited")
	}
	for _, time := range []string{"first", "second"} {
		if err := s.Forge.DeleteComment(s.ctx, s.Pull, made.ID); err != nil {
			s.Errorf("DeleteComment() for the %s time: error = %v", time, err)
		}
	}
	if r, there := s.remark(made.ID); there {
		s.Errorf("after DeleteComment() the forge has %+v", r)
	}
	if r, _ := s.remark(second.ID); r.Body != "second" {
		s.Errorf("the other comment is %q, want it untouched", r.Body)
	}
	if err := s.Forge.EditComment(s.ctx, s.Pull, made.ID, "x"); !errors.Is(err, vcs.ErrNotFound) {
		s.Errorf("EditComment() of a deleted one: error = %v, want ErrNotFound", err)
	}
	nowhere := s.Pull
	nowhere.Number = 999_999
	if _, err := s.Forge.CreateComment(s.ctx, nowhere, "x"); !errors.Is(err, vcs.ErrNotFound) {
		s.Errorf("CreateComment() on no pull request: error = %v, want ErrNotFound", err)
	}
	if _, err := s.Forge.Comments(s.ctx, nowhere, time.Time{}); !errors.Is(err, vcs.ErrNotFound) {
		s.Errorf("Comments() of no pull request: error = %v, want ErrNotFound", err)
	}
}

func (s *story) since() {
	made := s.say("since")
	if _, ok := find(s.list(made.CreatedAt), made.ID); !ok {
		s.Error("Comments(since its own time) lacks the comment")
	}
	if list := s.list(made.CreatedAt.Add(time.Hour)); len(list) != 0 {
		s.Errorf("Comments(since an hour later) = %+v, want none", list)
	}
}

func (s *story) commentPages() {
	const many = 105 // more than any forge puts on a page
	want := map[int64]string{}
	for i := range many {
		body := fmt.Sprintf("remark %d", i)
		want[s.Comment(s.T, s.Author, body)] = body
	}
	list := s.list(time.Time{})
	for i, c := range list {
		if i > 0 && !c.After(list[i-1].CreatedAt, list[i-1].ID) {
			s.Errorf("Comments()[%d] = %d at %v, which is not after the one before it", i, c.ID, c.CreatedAt)
		}
		if body, ok := want[c.ID]; ok && c.Body == body {
			delete(want, c.ID)
		}
	}
	if len(want) != 0 {
		s.Errorf("Comments() lacks %d of %d comments", len(want), many)
	}
}

func (s *story) limits() {
	limit := s.Forge.Site().CommentLimit
	for _, fill := range []string{"x", "ü", "🌊"} {
		body := strings.Repeat(fill, limit/len(fill))
		if c := s.say(body); c.Body != body {
			s.Errorf("a comment of CommentLimit bytes of %q came back with %d bytes, want %d", fill, len(c.Body), len(body))
		}
	}
	before := len(s.Conversation(s.T))
	if _, err := s.Forge.CreateComment(s.ctx, s.Pull, strings.Repeat("x", 2<<20)); !errors.Is(err, vcs.ErrRefused) {
		s.Errorf("CreateComment(2 MiB) error = %v, want ErrRefused", err)
	}
	if after := len(s.Conversation(s.T)); after != before {
		s.Errorf("a refused comment left %d comments, want %d", after, before)
	}
}

func (s *story) fold() {
	f, ok := s.Forge.(vcs.Folder)
	if !ok {
		return
	}
	before := 0
	if s.Folded != nil {
		before = s.Folded(s.T)
	}
	var old []vcs.Comment
	for _, body := range []string{"plan one", "plan two", "plan three"} {
		old = append(old, s.say(body))
	}
	keep := s.say("plan four")
	for range 2 { // folding what is folded is no error
		if err := f.Fold(s.ctx, s.Pull, old); err != nil {
			s.Fatalf("Fold() error = %v", err)
		}
	}
	if s.Folded != nil {
		if got := s.Folded(s.T) - before; got != len(old) {
			s.Errorf("Fold() folded %d comments, want %d", got, len(old))
		}
	} else {
		for _, c := range old {
			if r, _ := s.remark(c.ID); !r.Folded {
				s.Errorf("comment %d is not folded", c.ID)
			}
		}
		if r, _ := s.remark(keep.ID); r.Folded {
			s.Error("a comment is folded that was not to be")
		}
	}
	if err := f.Fold(s.ctx, s.Pull, nil); err != nil {
		s.Errorf("Fold(nothing) error = %v", err)
	}
}

func (s *story) react() {
	r, ok := s.Forge.(vcs.Reactor)
	if !ok {
		return
	}
	id := s.Comment(s.T, s.Writer, "apply")
	for range 2 {
		if err := r.React(s.ctx, s.Pull, id); err != nil {
			s.Fatalf("React() error = %v", err)
		}
	}
	got, _ := s.remark(id)
	var total int
	for _, n := range got.Reactions {
		total += n
	}
	if got.Reactions != nil && total != 1 {
		s.Errorf("after two times React() the comment has %v, want one reaction", got.Reactions)
	}
	if err := r.React(s.ctx, s.Pull, noID); !errors.Is(err, vcs.ErrNotFound) {
		s.Errorf("React() to no comment: error = %v, want ErrNotFound", err)
	}
}

func (s *story) locked() {
	if s.Lock == nil {
		return
	}
	before := len(s.Conversation(s.T))
	s.Lock(s.T, true)
	if _, err := s.Forge.CreateComment(s.ctx, s.Pull, "x"); !errors.Is(err, vcs.ErrRefused) {
		s.Errorf("CreateComment() in a locked conversation: error = %v, want ErrRefused", err)
	}
	s.Lock(s.T, false)
	s.say("unlocked")
	if got := len(s.Conversation(s.T)); got != before+1 {
		s.Errorf("the conversation has %d comments, want %d", got, before+1)
	}
}
