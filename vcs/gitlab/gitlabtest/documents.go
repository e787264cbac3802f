package gitlabtest

import (
	"cmp"
	"fmt"
	"path"
	"strings"
)

func (s *Server) userDocument(u *user) document {
	return document{
		"id": u.id, "username": u.name, "name": u.name, "state": u.state,
		"avatar_url": s.URL + "/uploads/-/system/user/avatar/1/avatar.png", "web_url": s.URL + "/" + u.name,
	}
}

func (s *Server) memberDocument(u *user, level int) document {
	d := s.userDocument(u)
	d["access_level"], d["expires_at"], d["group_saml_identity"] = level, nil, nil
	return d
}

func (s *Server) projectDocument(p *Project) document {
	return document{
		"id": p.id, "description": "", "name": path.Base(p.path), "path": path.Base(p.path), "path_with_namespace": p.path,
		"name_with_namespace": strings.ReplaceAll(p.path, "/", " / "), "default_branch": "main", "visibility": map[bool]string{true: "public", false: "private"}[p.public],
		"http_url_to_repo": s.URL + "/" + p.path + ".git", "ssh_url_to_repo": "git@127.0.0.1:" + p.path + ".git", "web_url": s.URL + "/" + p.path,
		"squash_option": cmp.Or(p.rules.Squash, "default_off"), "merge_trains_enabled": p.rules.Trains, "only_allow_merge_if_pipeline_succeeds": p.rules.Pipeline,
	}
}

// mergeInList is a merge request as lists have it: without diff_refs and pipelines.
func (s *Server) mergeInList(m *Merge) document {
	people := 0
	for _, n := range m.notes {
		if !n.system {
			people++
		}
	}
	var from any
	if m.sourceProject != 0 {
		from = m.sourceProject
	}
	return document{
		"id": m.id, "iid": m.iid, "project_id": m.p.id, "title": m.title, "description": m.text, "state": m.state,
		"created_at": stamp(m.made), "updated_at": stamp(m.updated), "merged_by": nil, "merged_at": nil, "closed_by": nil, "closed_at": nil,
		"target_branch": m.target, "source_branch": m.source, "user_notes_count": people, "upvotes": 0, "downvotes": 0,
		"assignee": nil, "author": s.userDocument(s.user(m.author)), "assignees": []any{}, "reviewers": []any{},
		"source_project_id": from, "target_project_id": m.p.id, "labels": []string{}, "work_in_progress": m.draft, "draft": m.draft,
		"milestone": nil, "merge_when_pipeline_succeeds": false, "detailed_merge_status": m.mergeStatus(), "merge_status": m.oldStatus(),
		"sha": m.heads[len(m.heads)-1], "merge_commit_sha": nil, "discussion_locked": nil, "should_remove_source_branch": nil,
		"force_remove_source_branch": false, "reference": fmt.Sprintf("!%d", m.iid), "web_url": m.page(), "squash": m.squash, "has_conflicts": m.clashes(),
	}
}

func (s *Server) mergeDocument(m *Merge, me *user) document {
	d := s.mergeInList(m)
	head := m.heads[len(m.heads)-1]
	d["subscribed"], d["changes_count"], d["merge_error"], d["first_contribution"] = false, "1", nil, false
	d["user"] = document{"can_merge": s.level(m.p.path, me.id) >= 30}
	d["head_pipeline"] = nil
	if one := m.lastPipeline(); one != nil {
		d["head_pipeline"] = s.pipelineDocument(m.p, one)
	}
	d["diff_refs"] = document{"base_sha": m.base, "head_sha": head, "start_sha": m.base}
	return d
}

func (s *Server) noteDocument(m *Merge, n *note) document {
	return document{
		"id": n.id, "type": nil, "body": n.body, "attachment": nil, "author": s.userDocument(s.user(n.author)), "system": n.system,
		"created_at": stamp(n.made), "updated_at": stamp(n.updated), "noteable_id": m.id, "noteable_type": "MergeRequest",
		"project_id": m.p.id, "resolvable": false, "confidential": false, "internal": false, "noteable_iid": m.iid,
	}
}

func (s *Server) emojiDocument(n *note, name, user string) document {
	return document{"id": n.id + 1_000_000, "name": name, "user": s.userDocument(s.user(user)), "awardable_id": n.id, "awardable_type": "Note"}
}

func (s *Server) approvalsDocument(m *Merge) document {
	by := []document{}
	for _, name := range m.approvedBy {
		by = append(by, document{"user": s.userDocument(s.user(name))})
	}
	return document{
		"id": m.id, "iid": m.iid, "project_id": m.p.id, "title": m.title, "description": "", "state": m.state,
		"created_at": stamp(m.made), "updated_at": stamp(m.updated), "merge_status": "can_be_merged", "approved": m.approvalsLeft == 0,
		"approvals_required": m.approvalsLeft + len(by), "approvals_left": m.approvalsLeft, "approved_by": by,
	}
}

func (s *Server) pipelineDocument(p *Project, one *pipeline) document {
	return document{
		"id": one.id, "sha": one.sha, "ref": one.ref, "status": p.pipelineState(one), "source": one.source, "project_id": p.id,
		"web_url": fmt.Sprintf("%s/%s/-/pipelines/%d", s.URL, p.path, one.id), "created_at": one.made, "updated_at": one.made,
	}
}

func (s *Server) statusDocument(one *status) document {
	return document{
		"id": one.id, "sha": one.sha, "ref": one.ref, "status": one.state, "name": one.name, "target_url": one.url,
		"description": one.description, "created_at": stamp(one.made), "started_at": nil, "finished_at": nil, "allow_failure": false,
		"coverage": nil, "pipeline_id": one.pipeline, "author": s.userDocument(s.user(one.author)),
	}
}

func (s *Server) branchDocument(name, sha string, protected bool) document {
	return document{
		"name": name, "merged": false, "protected": protected, "default": name == "main", "can_push": true, "developers_can_push": false,
		"developers_can_merge": false, "commit": document{"id": sha, "short_id": sha[:8], "title": "one"},
	}
}
