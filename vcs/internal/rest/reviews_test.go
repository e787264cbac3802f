package rest_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

func TestApproval(t *testing.T) {
	t.Parallel()
	may := func(user string) (vcs.Permission, error) {
		if user == "eve" {
			return vcs.ReadPermission, nil
		}
		return vcs.WritePermission, nil
	}
	for _, tt := range []struct {
		name    string
		reviews []rest.Review
		want    vcs.Approval
	}{
		{"none", nil, vcs.Approval{}},
		{"approved", []rest.Review{{"raj", rest.Approves}}, vcs.Approval{Approved: true, By: []string{"raj"}}},
		{"talk after it", []rest.Review{{"raj", rest.Approves}, {"raj", rest.Nothing}}, vcs.Approval{Approved: true, By: []string{"raj"}}},
		{"another mind", []rest.Review{{"raj", rest.Approves}, {"raj", rest.Rejects}}, vcs.Approval{Against: []string{"raj"}}},
		{"dismissed", []rest.Review{{"raj", rest.Approves}, {"raj", rest.Dismissed}}, vcs.Approval{}},
		{"the author", []rest.Review{{"Ana", rest.Approves}}, vcs.Approval{}},
		{"a deleted user", []rest.Review{{"", rest.Approves}}, vcs.Approval{}},
		{"a reader", []rest.Review{{"eve", rest.Rejects}, {"eve", rest.Approves}}, vcs.Approval{}},
		{"one for, one against", []rest.Review{{"zoe", rest.Approves}, {"bob", rest.Approves}, {"raj", rest.Rejects}}, vcs.Approval{By: []string{"bob", "zoe"}, Against: []string{"raj"}}},
	} {
		got, err := rest.Approval("ana", tt.reviews, may)
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("Approval(%s) error = %v, differs (-want +got):\n%s", tt.name, err, diff)
		}
	}
	no := errors.New("no")
	_, err := rest.Approval("ana", []rest.Review{{"raj", rest.Approves}}, func(string) (vcs.Permission, error) { return vcs.AdminPermission, no })
	if !errors.Is(err, no) {
		t.Errorf("Approval() without an answer: error = %v, want it", err)
	}
}
