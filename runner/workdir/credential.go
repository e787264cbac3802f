package workdir

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
)

// longestCredential fits into the smallest buffer that a pipe may have, so that writing never blocks.
const longestCredential = 4096

// credentialHelper hands git what lies in the pipe it inherited as file descriptor 4, once: a second
// question finds the pipe empty. The credential is on no command line, in no environment, in no file.
const credentialHelper = `!f() { test "$1" = get && cat <&4; }; f` //nolint:gosec // holds none

// remote is a checked URL with the credential for one fetch.
type remote struct {
	url    string
	config []string
	// pipe is nil when there is no credential.
	pipe    *os.File
	secrets []string
	// password is what the pipe holds.
	password string
}

// dial checks the URL and asks for the credential. The caller closes the pipe.
func dial(ctx context.Context, repo Repo) (remote, error) {
	u, err := url.Parse(repo.URL)
	if err != nil {
		// The parser's error repeats the URL, and there may be a password in it.
		return remote{}, errors.New("the repository's URL is not a URL")
	}
	if u.User != nil {
		return remote{}, errors.New("the repository's URL contains a user or password")
	}
	switch {
	case u.Scheme == "file" && u.Host == "" && u.Path != "":
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
	default:
		return remote{}, fmt.Errorf("the repository's URL %q is neither http, https nor file", scrub(repo.URL, nil))
	}
	r := remote{url: repo.URL, config: []string{"protocol." + u.Scheme + ".allow", "always"}}
	if repo.Credential == nil || u.Scheme == "file" {
		return r, nil
	}
	user, password, err := repo.Credential(ctx)
	if err != nil {
		return remote{}, fmt.Errorf("getting the credential for %s: %w", u.Host, err)
	}
	if r.pipe, err = credentialPipe(user, password); err != nil {
		return remote{}, fmt.Errorf("passing the credential for %s: %w", u.Host, err)
	}
	r.password, r.secrets = password, spellings(user, password)
	// Bound to scheme and host: a redirect elsewhere is not followed by the credential.
	r.config = append(r.config, "credential."+u.Scheme+"://"+u.Host+".helper", credentialHelper)
	return r, nil
}

// credentialPipe is the reading end of a pipe that holds the credential in git's words, and then ends.
func credentialPipe(user, password string) (*os.File, error) {
	if strings.ContainsAny(user+password, "\x00\n\r") {
		return nil, errors.New("it contains a line break")
	}
	text := "username=" + user + "\npassword=" + password + "\n"
	if len(text) > longestCredential {
		return nil, errors.New("it is too long")
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	_, err = writer.WriteString(text)
	if err = errors.Join(err, writer.Close()); err != nil {
		return nil, errors.Join(err, reader.Close())
	}
	return reader, nil
}

// spellings are the forms in which a server could repeat the password to us.
func spellings(user, password string) []string {
	if password == "" {
		return nil
	}
	return []string{
		base64.StdEncoding.EncodeToString([]byte(user + ":" + password)),
		password, url.QueryEscape(password), url.PathEscape(password),
	}
}
