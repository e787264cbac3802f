package e2e

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"
)

// sshServer lets those read the forge's repositories over ssh who have the agent's key.
type sshServer struct {
	// url is what comes before /OWNER/NAME.git.
	url   string
	repos string
	end   context.CancelFunc
	ctx   context.Context //nolint:containedctx // the life of the server
	work  sync.WaitGroup
}

// sshd FILE: starts it and an agent; FILE gets the server's key.
func cmdSSHD(ts *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 1, "sshd FILE"); err != nil {
		return err
	}
	s := &sshServer{repos: filepath.Join(w.dir, "forge")}
	s.ctx, s.end = context.WithCancel(context.Background())
	w.ssh = s
	_, hostKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	_, userKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	host, err := ssh.NewSignerFromSigner(hostKey)
	if err != nil {
		return err
	}
	user, err := ssh.NewSignerFromSigner(userKey)
	if err != nil {
		return err
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(user.PublicKey().Marshal()) {
			return nil, errors.New("nobody has this key")
		}
		return nil, nil
	}}
	config.AddHostKey(host)
	addr, err := s.listen("tcp", "127.0.0.1:0", func(conn net.Conn) { s.serve(conn, config) })
	if err != nil {
		return err
	}
	s.url = "ssh://git@" + addr
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: userKey}); err != nil {
		return err
	}
	socket := filepath.Join(w.dir, "agent")
	if _, err := s.listen("unix", socket, func(conn net.Conn) { _ = agent.ServeAgent(ring, conn) }); err != nil {
		return err
	}
	ts.Setenv("SSH_AUTH_SOCK", socket)
	line := knownhosts.Line([]string{knownhosts.Normalize(addr)}, host.PublicKey()) + "\n"
	return errors.Join(os.Chmod(socket, 0o666), os.WriteFile(ts.MkAbs(args[0]), []byte(line), 0o644))
}

// listen serves each connection until the story ends.
func (s *sshServer) listen(network, addr string, serve func(net.Conn)) (string, error) {
	lis, err := (&net.ListenConfig{}).Listen(s.ctx, network, addr)
	if err != nil {
		return "", err
	}
	context.AfterFunc(s.ctx, func() { _ = lis.Close() })
	s.work.Go(func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			s.work.Go(func() {
				defer context.AfterFunc(s.ctx, func() { _ = conn.Close() })()
				defer func() { _ = conn.Close() }()
				serve(conn)
			})
		}
	})
	return lis.Addr().String(), nil
}

func (s *sshServer) close() {
	s.end()
	s.work.Wait()
}

func (s *sshServer) serve(conn net.Conn, config *ssh.ServerConfig) {
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		if c.ChannelType() != "session" {
			_ = c.Reject(ssh.UnknownChannelType, "sessions only")
			continue
		}
		channel, asked, err := c.Accept()
		if err != nil {
			return
		}
		s.work.Go(func() { s.session(channel, asked) })
	}
}

// session runs git-upload-pack, and nothing else.
func (s *sshServer) session(channel ssh.Channel, asked <-chan *ssh.Request) {
	defer func() { _ = channel.Close() }()
	for req := range asked {
		if req.Type != "exec" {
			_ = req.Reply(req.Type == "env", nil)
			continue
		}
		var command struct{ Text string }
		path, ok := "", ssh.Unmarshal(req.Payload, &command) == nil
		if ok {
			path, ok = strings.CutPrefix(command.Text, "git-upload-pack '/")
		}
		_ = req.Reply(ok, nil)
		if !ok {
			return
		}
		code := s.upload(channel, filepath.Join(s.repos, filepath.Clean("/"+strings.TrimSuffix(path, "'"))))
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{code}))
		return
	}
}

func (s *sshServer) upload(channel ssh.Channel, repo string) uint32 {
	cmd := exec.CommandContext(s.ctx, "git", "upload-pack", repo)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null"}
	in, err := cmd.StdinPipe()
	if err != nil {
		return 1
	}
	cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
	go func() {
		_, _ = io.Copy(in, channel)
		_ = in.Close()
	}()
	if err := cmd.Run(); err != nil {
		_, _ = fmt.Fprintln(channel.Stderr(), err)
		return 1
	}
	return 0
}
