"""Does once what a person or another program does to a pull request, with a client that is not ours."""
import sys
import time

import github

url, token, admin, sha, receiver = sys.argv[1:]


def refused(code, do, *args, **kwargs):
    try:
        do(*args, **kwargs)
    except github.GithubException as e:
        assert e.status == code, e
        return e.data["message"]
    raise AssertionError("%s was taken, want %d" % (do, code))


gh = github.Github(base_url=url, login_or_token=token, retry=None)
gh.FIX_REPO_GET_GIT_REF = False
assert gh.get_user().login == "tidegate-bot"
repo = gh.get_repo("acme/infra")
assert (repo.full_name, repo.default_branch, repo.owner.login) == ("acme/infra", "main", "acme"), repo

pull, = repo.get_pulls(state="open", head="acme:grow")
assert (pull.number, pull.title, pull.draft, pull.user.login) == (1, "Grow the <cluster>", True, "ana"), pull.raw_data
pull = repo.get_pull(1)
assert (pull.head.ref, pull.head.sha, pull.base.ref, pull.head.repo.full_name) == ("grow", sha, "main", "acme/infra"), pull.raw_data
assert (pull.state, pull.merged, pull.commits) == ("open", False, 1), pull.raw_data
assert refused(422, repo.create_pull, title="Nothing", body="", head="nothing", base="main")

comment = pull.create_issue_comment("hello")
comment.edit("edited ünïcödé \U0001f680")
assert comment.body == "edited ünïcödé \U0001f680", comment.body
eyes = comment.create_reaction("eyes")
assert (eyes.content, eyes.user.login) == ("eyes", "tidegate-bot"), eyes
assert comment.create_reaction("eyes").id == eyes.id
for i in range(120):
    pull.create_issue_comment("comment %d" % i)
comments = list(pull.get_issue_comments())
assert [c.body for c in comments] == [comment.body] + ["comment %d" % i for i in range(120)], len(comments)
assert (comments[0].id, comments[0].user.login) == (comment.id, "tidegate-bot"), comments[0].raw_data
last = comments.pop()
last.delete()
refused(404, last.edit, "gone")
assert len(list(pull.get_issue_comments())) == 120
refused(422, pull.create_issue_comment, "")

branch = repo.get_branch("grow")
assert (branch.commit.sha, branch.protected) == (sha, False), branch.raw_data
branch.commit.create_status("pending", "https://ci.example.com/1", "waits", "check")
branch.commit.create_status("success", "https://ci.example.com/2", "fine", "check")
branch.commit.create_status("failure")
whole = branch.commit.get_combined_status()
assert (whole.state, whole.sha, whole.total_count) == ("failure", sha, 2), whole.raw_data
assert {s.context: (s.state, s.description, s.target_url) for s in whole.statuses} == {
    "check": ("success", "fine", "https://ci.example.com/2"), "default": ("failure", None, None)}, whole.raw_data
refused(422, branch.commit.create_status, "success", description="x" * 141)

review = pull.create_review(body="looks good", event="APPROVE")
assert (review.state, review.user.login, review.commit_id) == ("APPROVED", "tidegate-bot", sha), review.raw_data
review.dismiss("too early")
assert [r.state for r in pull.get_reviews()] == ["DISMISSED"]
refused(422, review.dismiss, "again")
pull.create_review(body="looks good", event="APPROVE")

assert repo.get_collaborator_permission("raj") == "write"
assert repo.get_collaborator_permission("eve") == "read"
refused(404, repo.get_collaborator_permission, "nobody")

main = repo.get_branch("main")
assert main.protected and main.raw_data["protection"]["required_status_checks"]["contexts"] == ["check"], main.raw_data
more = repo.get_pull(2)
refused(409, more.merge, sha=sha)
refused(405, more.merge, sha=more.head.sha)
repo.get_branch(more.head.ref).commit.create_status("success", context="check")
merged = more.merge(sha=more.head.sha, merge_method="squash")
assert merged.merged and len(merged.sha) == 40, merged.raw_data
more = repo.get_pull(2)
assert (more.merged, more.state, more.merge_commit_sha, more.merged_by.login) == (True, "closed", merged.sha, "tidegate-bot"), more.raw_data
assert repo.get_branch("main").commit.sha == merged.sha
refused(405, pull.merge, sha=sha)

ref = repo.get_git_ref("ref/heads/" + more.head.ref)
assert ref.object.sha == more.head.sha, ref.raw_data
ref.delete()
refused(404, repo.get_branch, more.head.ref)
refused(422, ref.delete)

refused(404, repo.create_hook, "web", {"url": receiver})
owned = github.Github(base_url=url, login_or_token=admin, retry=None).get_repo("acme/infra")
hook = owned.create_hook("web", {"url": receiver, "content_type": "json", "secret": "s"}, ["pull_request"], True)
assert (hook.events, hook.active, hook.config["secret"]) == (["pull_request"], True, "********"), hook.raw_data
refused(422, owned.create_hook, "web", {"url": receiver})
hook.ping()
for _ in range(200):
    _, deliveries = owned._requester.requestJsonAndCheck("GET", hook.url + "/deliveries")
    if len(deliveries) == 2:
        break
    time.sleep(0.05)
assert [(d["event"], d["status_code"], d["action"]) for d in deliveries] == [("ping", 202, None)] * 2, deliveries
listed, = owned.get_hooks()
assert (listed.id, listed.last_response.code, listed.last_response.status) == (hook.id, 202, "active"), listed.raw_data
hook.delete()
assert not list(owned.get_hooks())

refused(404, gh.get_repo, "acme/nothing")
refused(401, github.Github(base_url=url, login_or_token="wrong", retry=None).get_repo, "acme/infra")
