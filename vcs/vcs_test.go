package vcs_test

import (
	"testing"
	"time"

	"github.com/tidegate/tidegate/vcs"
)

func TestEventKey(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	push := func(change func(*vcs.Event)) vcs.Event {
		e := vcs.Event{
			Kind: vcs.PullPushed, Repo: vcs.Repo{ID: vcs.RepoID{Forge: "github.com", ID: 7}, Owner: "acme", Name: "infra"},
			Pull: 12, Head: "aaa", Base: "bbb", BaseRef: "main", At: at,
		}
		change(&e)
		return e
	}
	comment := func(change func(*vcs.Event)) vcs.Event {
		return push(func(e *vcs.Event) {
			e.Kind, e.Head, e.Base, e.BaseRef = vcs.Commented, "", "", ""
			e.Comment = &vcs.Comment{ID: 5, Body: "plan"}
			change(e)
		})
	}
	none := func(*vcs.Event) {}
	for _, tt := range []struct {
		name string
		a, b vcs.Event
		same bool
	}{
		{"the same", push(none), push(none), true},
		{"another delivery", push(none), push(func(e *vcs.Event) { e.Delivery = "x" }), true},
		{"a renamed repository", push(none), push(func(e *vcs.Event) { e.Repo.Name = "infra2" }), true},
		{"the same time in another zone", push(none), push(func(e *vcs.Event) { e.At = at.In(time.FixedZone("x", 3600)) }), true},
		{"another head", push(none), push(func(e *vcs.Event) { e.Head = "ccc" }), false},
		{"another base", push(none), push(func(e *vcs.Event) { e.Base = "ccc" }), false},
		{"another base branch", push(none), push(func(e *vcs.Event) { e.BaseRef = "next" }), false},
		{"another time", push(none), push(func(e *vcs.Event) { e.At = at.Add(time.Second) }), false},
		{"another pull request", push(none), push(func(e *vcs.Event) { e.Pull = 13 }), false},
		{"another repository", push(none), push(func(e *vcs.Event) { e.Repo.ID.ID = 8 }), false},
		{"another forge", push(none), push(func(e *vcs.Event) { e.Repo.ID.Forge = "ghe.corp" }), false},
		{"another kind", push(none), push(func(e *vcs.Event) { e.Kind = vcs.PullReady }), false},
		{"a head that runs into the base", push(func(e *vcs.Event) { e.Head, e.Base = "ab", "c" }), push(func(e *vcs.Event) { e.Head, e.Base = "a", "bc" }), false},
		{"a comment, sent twice", comment(none), comment(func(e *vcs.Event) { e.At, e.Delivery = at.Add(time.Hour), "x" }), true},
		{"an edited comment", comment(none), comment(func(e *vcs.Event) { e.Comment.Body = "apply" }), true},
		{"two comments", comment(none), comment(func(e *vcs.Event) { e.Comment.ID = 6 }), false},
		{"a comment and a push", comment(none), push(none), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.a.Key() == tt.b.Key(); got != tt.same {
				t.Errorf("Key() = %q and %q, want same = %v", tt.a.Key(), tt.b.Key(), tt.same)
			}
		})
	}
}

func TestCommentAfter(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name string
		c    vcs.Comment
		at   time.Time
		id   int64
		want bool
	}{
		{"a second later", vcs.Comment{ID: 1, CreatedAt: at.Add(time.Second)}, at, 2, true},
		{"a second earlier", vcs.Comment{ID: 3, CreatedAt: at.Add(-time.Second)}, at, 2, false},
		{"same second, later id", vcs.Comment{ID: 3, CreatedAt: at}, at, 2, true},
		{"same second, earlier id", vcs.Comment{ID: 1, CreatedAt: at}, at, 2, false},
		{"itself", vcs.Comment{ID: 2, CreatedAt: at}, at, 2, false},
		{"fractions do not count", vcs.Comment{ID: 3, CreatedAt: at}, at.Add(900 * time.Millisecond), 2, true},
		{"another zone", vcs.Comment{ID: 3, CreatedAt: at.In(time.FixedZone("x", -7200))}, at, 2, true},
		{"after nothing", vcs.Comment{ID: 3, CreatedAt: at}, time.Time{}, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.c.After(tt.at, tt.id); got != tt.want {
				t.Errorf("%v.After(%v, %d) = %v, want %v", tt.c, tt.at, tt.id, got, tt.want)
			}
		})
	}
}
