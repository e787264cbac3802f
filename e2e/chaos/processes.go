package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
)

type process struct {
	pid               int
	cmdline           string
	run               string // whose job it is of, if that is known
	tmp               string // its TMPDIR
	supervisor, apply bool
}

var runIn = regexp.MustCompile(`/runs/([0-9A-Z]{26})/`)

// processes are those of jobs, known by what their environment, their words or their directory say.
func (w *world) processes() []process {
	var out []process
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, at := range all {
		cmdline, err := os.ReadFile(filepath.Join(at, "cmdline")) //nolint:gosec // of /proc
		if err != nil || len(cmdline) == 0 || bytes.Contains(cmdline, []byte("\x00server\x00")) {
			continue
		}
		environ, _ := os.ReadFile(filepath.Join(at, "environ")) //nolint:gosec // of /proc
		cwd, _ := os.Readlink(filepath.Join(at, "cwd"))
		if !bytes.Contains(environ, []byte("CHAOS_NONCE="+w.dir+"\x00")) && !bytes.Contains(environ, []byte(w.data()+"/")) &&
			!bytes.Contains(cmdline, []byte(w.data()+"/")) && !bytes.HasPrefix([]byte(cwd), []byte(w.data()+"/")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(at))
		if err != nil {
			continue
		}
		p := process{
			pid: pid, cmdline: string(bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})),
			supervisor: bytes.HasPrefix(cmdline, []byte("tidegate-supervise")), apply: bytes.Contains(cmdline, []byte("\x00apply\x00")),
		}
		if m := runIn.FindSubmatch(append(cmdline, environ...)); m != nil {
			p.run = string(m[1])
		}
		for v := range bytes.SplitSeq(environ, []byte{0}) {
			if dir, ok := bytes.CutPrefix(v, []byte("TMPDIR=")); ok {
				p.tmp = string(dir)
			}
		}
		out = append(out, p)
	}
	return out
}
