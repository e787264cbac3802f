package terraform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// versionTimeout is generous: terraform answers in 30 ms.
const versionTimeout = 30 * time.Second

// versionCache remembers what binaries said their version is, by what can be told of a file without
// starting it. It is kept in a file, so that a restart starts no process either.
type versionCache struct {
	file string
	look bool // it is not written

	mu     sync.Mutex
	loaded bool
	known  map[string]knownVersion // by path
}

// knownVersion is one entry of versions.json.
type knownVersion struct {
	Size    int64     `json:"size"`
	ModTime time.Time `json:"mod_time"`
	Inode   uint64    `json:"inode"`
	Version string    `json:"version"`
}

func (k knownVersion) sameFile(other knownVersion) bool {
	return k.Size == other.Size && k.ModTime.Equal(other.ModTime) && k.Inode == other.Inode
}

// of returns the version of a binary. Concurrent callers wait for one process.
func (c *versionCache) of(ctx context.Context, file string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.load()
	info, err := os.Stat(file)
	if err != nil {
		return "", fmt.Errorf("looking at a tool: %w", err)
	}
	now := knownVersion{Size: info.Size(), ModTime: info.ModTime().UTC(), Inode: inode(info)}
	if old, ok := c.known[file]; ok && old.sameFile(now) {
		return old.Version, nil
	}
	if now.Version, err = askVersion(ctx, file); err != nil {
		return "", err
	}
	c.known[file] = now
	if !c.look {
		c.save()
	}
	return now.Version, nil
}

func (c *versionCache) load() {
	if c.loaded {
		return
	}
	c.loaded = true
	c.known = make(map[string]knownVersion)
	data, err := os.ReadFile(c.file)
	if err != nil {
		return
	}
	// A cache that cannot be read is only asked for again.
	if json.Unmarshal(data, &c.known) != nil || c.known == nil {
		c.known = make(map[string]knownVersion)
	}
}

// save writes the cache; when that fails, the next start asks again.
func (c *versionCache) save() {
	data, err := json.MarshalIndent(c.known, "", "\t")
	if err == nil {
		_ = writeFileAtomic(c.file, data)
	}
}

// askVersion starts a binary once. Its environment is ours: TF_CLI_ARGS would reach it otherwise.
func askVersion(ctx context.Context, file string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	dir, home := "/", os.DevNull // a machine that is read-only has no other
	if own, err := os.MkdirTemp("", "tidegate-version-"); err == nil {
		defer func() { _ = os.RemoveAll(own) }()
		dir, home = own, own
	}
	cmd := exec.CommandContext(ctx, file, "version", "-json")
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + home, "CHECKPOINT_DISABLE=1",
		"TF_CLI_CONFIG_FILE=" + os.DevNull, "TF_IN_AUTOMATION=1",
	}
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("asking %s for its version: %w", filepath.Base(file), err)
	}
	var answer struct {
		Version string `json:"terraform_version"`
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return "", fmt.Errorf("asking %s for its version: %w", filepath.Base(file), err)
	}
	if !exactVersion().MatchString(answer.Version) {
		return "", errors.New("asking " + filepath.Base(file) + " for its version: it names none")
	}
	return answer.Version, nil
}

// versionsAnswer is what the supervisor answers to `version -json` in the tool's place.
func (t Tool) versionsAnswer() string {
	data, err := json.Marshal(map[string]any{
		"terraform_version": t.Version, "provider_selections": map[string]string{}, "terraform_outdated": false,
	})
	if err != nil {
		return "{}"
	}
	return string(data)
}
