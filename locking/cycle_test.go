package locking_test

import (
	"testing"

	"github.com/tidegate/tidegate/locking"
)

// circles writes cycles as "1 holds x, 2 holds y".
func circles(cs []locking.Cycle) []string {
	out := []string{}
	for _, c := range cs {
		s := ""
		for i := range c.Pulls {
			if i > 0 {
				s += ", "
			}
			s += itoa(c.Pulls[i].Number) + " holds " + name(c.Keys[i])
		}
		out = append(out, s)
	}
	return out
}

func TestCrosswise(t *testing.T) {
	t.Parallel()
	s := open(t)
	ask(t, s, 1, true, "x")
	ask(t, s, 2, true, "y")
	want(t, "one waits", circles(ask(t, s, 2, true, "x").Cycles), []string{})
	want(t, "both wait", circles(ask(t, s, 1, true, "y").Cycles), []string{"1 holds x, 2 holds y"})
	want(t, "the same from the other side", circles(ask(t, s, 2, true, "x").Cycles), []string{"1 holds x, 2 holds y"})
	release(t, s, 2, true)
	want(t, "an unlock ends it", got(ask(t, s, 1, true, "y")), []string{"y acquired"})
}

func TestLongCircle(t *testing.T) {
	t.Parallel()
	s := open(t)
	for n, k := range map[int]string{1: "a", 2: "b", 3: "c", 4: "d"} {
		ask(t, s, n, true, k)
	}
	ask(t, s, 3, true, "b")
	ask(t, s, 2, true, "d")
	ask(t, s, 4, true, "a")
	want(t, "closed", circles(ask(t, s, 1, true, "c").Cycles), []string{"1 holds a, 4 holds d, 2 holds b, 3 holds c"})
}

func TestSeveralCirclesAtOnce(t *testing.T) {
	t.Parallel()
	s := open(t)
	ask(t, s, 1, true, "a")
	ask(t, s, 2, true, "b")
	ask(t, s, 3, true, "c")
	ask(t, s, 3, true, "a")
	ask(t, s, 2, true, "a")
	want(t, "both", circles(ask(t, s, 1, true, "c", "b").Cycles), []string{
		"1 holds a, 2 holds b", "1 holds a, 3 holds c",
	})
}

func TestSkippedWaiterIsInNoCircle(t *testing.T) {
	t.Parallel()
	s := open(t)
	ask(t, s, 1, true, "x")
	ask(t, s, 2, true, "y", "x")
	if err := s.Skip(t.Context(), pull(2), keys("y", "x"), true); err != nil {
		t.Fatal(err)
	}
	want(t, "the other is away", circles(ask(t, s, 1, true, "y").Cycles), []string{})
	want(t, "it came back", circles(ask(t, s, 2, true, "x").Cycles), []string{"1 holds x, 2 holds y"})
}

func TestCircleOfNames(t *testing.T) {
	t.Parallel()
	s := open(t)
	ask(t, s, 1, true, "d:a")
	ask(t, s, 2, true, "d:b")
	ask(t, s, 1, true, "d")
	want(t, "unnamed on both sides", circles(ask(t, s, 2, true, "d").Cycles), []string{"1 holds d:a, 2 holds d:b"})
}

// 4 waits only for 3's place in line, 3 for 1's lock, 1 for 4's: nobody can go on.
func TestCircleThroughALine(t *testing.T) {
	t.Parallel()
	s := open(t)
	ask(t, s, 1, true, "d:a")
	ask(t, s, 3, true, "d")
	ask(t, s, 4, true, "z")
	ask(t, s, 1, true, "z")
	want(t, "closed", circles(ask(t, s, 4, true, "d:b").Cycles), []string{"1 holds d:a, 3 holds d, 4 holds z"})
	release(t, s, 3, true)
	want(t, "an unlock ends it", got(ask(t, s, 4, true, "d:b")), []string{"d:b acquired"})
}
