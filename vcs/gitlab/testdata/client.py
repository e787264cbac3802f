"""Does once what a person or another program does to a merge request, with a client that is not ours."""
import sys

import gitlab

url, token, path, sha = sys.argv[1:]
gl = gitlab.Gitlab(url, private_token=token, retry_transient_errors=False)
gl.auth()
assert gl.user.username == "tidegate-bot", gl.user.username

project = gl.projects.get(path)
assert project.path_with_namespace == path, project.path_with_namespace
(merge,) = project.mergerequests.list(state="opened", source_branch="grow", get_all=True)
merge = project.mergerequests.get(merge.iid)
assert (merge.sha, merge.draft, merge.author["username"]) == (sha, True, "ana"), merge

note = merge.notes.create({"body": "hello"})
note.body = "edited"
note.save()
note.awardemojis.create({"name": "eyes"})
try:
    note.awardemojis.create({"name": "eyes"})
    raise AssertionError("a second pair of eyes was taken")
except gitlab.exceptions.GitlabCreateError as e:
    assert e.response_code == 404, e
for i in range(120):
    merge.notes.create({"body": "note %d" % i})
notes = merge.notes.list(get_all=True)
assert len([n for n in notes if not n.system]) == 121, len(notes)
notes[0].delete()

merge.approve()
approvals = merge.approvals.get()
assert [a["user"]["username"] for a in approvals.approved_by] == ["tidegate-bot"], approvals

(user,) = gl.users.list(username="raj")
assert project.members_all.get(user.id).access_level == 30
assert [p.ref for p in project.pipelines.list(sha=sha, get_all=True)] == ["grow"]

commit = project.commits.get(sha, lazy=True)
commit.statuses.create({"state": "pending", "name": "check", "target_url": "https://ci.example.com/1"})
commit.statuses.create({"state": "success", "name": "check", "description": "fine"})
(status,) = commit.statuses.list(get_all=True)
assert (status.name, status.status, status.description) == ("check", "success", "fine"), status

(other,) = project.mergerequests.list(state="opened", source_branch="more-0", get_all=True)
for what, how, code in ((merge, {"sha": sha}, 405), (other, {"sha": sha}, 409)):
    try:
        what.merge(**how)
        raise AssertionError("a draft, or another head, was merged")
    except gitlab.exceptions.GitlabMRClosedError as e:
        assert e.response_code == code, e
assert other.detailed_merge_status == "mergeable", other
assert project.branches.get("more-0").commit["id"] == other.sha
other.merge(should_remove_source_branch=True, sha=other.sha, squash=True)
other = project.mergerequests.get(other.iid)
assert (other.state, other.squash) == ("merged", True), other
try:
    project.branches.get("more-0")
    raise AssertionError("the branch is there")
except gitlab.exceptions.GitlabGetError as e:
    assert e.response_code == 404, e

hook = project.hooks.create({"url": "https://ci.example.com/hook", "merge_requests_events": True, "token": "x"})
assert [h.id for h in project.hooks.list(get_all=True)] == [hook.id]

try:
    gl.projects.get("acme/nothing")
    raise AssertionError("a project is there that is not")
except gitlab.exceptions.GitlabGetError as e:
    assert e.response_code == 404, e
try:
    gitlab.Gitlab(url, private_token="wrong").auth()
    raise AssertionError("a wrong token was taken")
except gitlab.exceptions.GitlabAuthenticationError:
    pass
