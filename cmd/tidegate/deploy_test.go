package main

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	unitFile = "../../deploy/systemd/tidegate.service"
	podFile  = "../../deploy/kubernetes/tidegate.yaml"
)

func contents(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// found is what the only group of a pattern matches.
func found(t *testing.T, text, pattern string) string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("there is no %s", pattern)
	}
	return m[1]
}

func spanOf(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(strings.Replace(text, "min", "m", 1))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Every setting that the files name is one of the table.
func TestDeployFilesNameSettings(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, o := range options() {
		name := "TIDEGATE_" + strings.ToUpper(strings.ReplaceAll(o.name, "-", "_"))
		known[name] = true
		if o.secret {
			known[name+"_FILE"] = true
		}
	}
	for _, path := range []string{unitFile, podFile} {
		names := regexp.MustCompile(`TIDEGATE_[A-Z_]+`).FindAllString(contents(t, path), -1)
		if len(names) < 5 {
			t.Errorf("%s names only %q", path, names)
		}
		for _, n := range names {
			if !known[n] {
				t.Errorf("%s names %s, which is no setting", path, n)
			}
		}
	}
}

// Who stops the server waits longer than the server's grace.
func TestDeployFilesWaitForTheGrace(t *testing.T) {
	t.Parallel()
	unit, pod := contents(t, unitFile), contents(t, podFile)
	grace, limit := spanOf(t, found(t, unit, `SHUTDOWN_GRACE=(\S+)`)), spanOf(t, found(t, unit, `TimeoutStopSec=(\S+)`))
	if limit <= grace {
		t.Errorf("systemd kills after %s, the grace is %s", limit, grace)
	}
	found(t, unit, `\nKillMode=(mixed)\n`)
	found(t, unit, `\nExecStart=(/\S+/tidegate init -- /\S+/tidegate server)\n`)
	grace, limit = spanOf(t, found(t, pod, `SHUTDOWN_GRACE, value: (\w+)`)), spanOf(t, found(t, pod, `terminationGracePeriodSeconds: (\d+)`)+"s")
	if limit <= grace {
		t.Errorf("Kubernetes kills after %s, the grace is %s", limit, grace)
	}
}

func TestKubernetesFitsTheImage(t *testing.T) {
	t.Parallel()
	image, pod := contents(t, "../../Dockerfile"), contents(t, podFile)
	for what, pair := range map[string][2]string{
		"user": {found(t, image, `USER (\d+)`), found(t, pod, `runAsUser: (\d+)`)},
		"port": {found(t, image, `EXPOSE (\d+)`), found(t, pod, `containerPort: (\d+)`)},
		"data": {found(t, image, `TIDEGATE_DATA_DIR=(\S+)`), found(t, pod, `name: data, mountPath: ([^}]+)}`)},
	} {
		if pair[0] != pair[1] {
			t.Errorf("the %s is %s in the image and %s in the pod", what, pair[0], pair[1])
		}
	}
	if n, err := strconv.Atoi(found(t, pod, `replicas: (\d+)`)); n != 1 || err != nil {
		t.Errorf("%d replicas, want one", n)
	}
}
