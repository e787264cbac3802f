package command

import (
	"strings"
	"unicode"
)

// token is one word of a line.
type token struct {
	text string
	// quoted: some of it was in quotes or escaped; lead: its first character was.
	quoted, lead bool
}

// lexed is a line in words. open says what was not closed, and then the last token is what there was of it.
type lexed struct {
	tokens []token
	open   string
}

func (l lexed) rest() lexed { return lexed{tokens: l.tokens[1:], open: l.open} }

// joined makes one word of "state push", which is one command's name.
func (l lexed) joined() lexed {
	if len(l.tokens) < 2 || l.tokens[0].quoted || l.tokens[1].quoted {
		return l
	}
	word := lower(strings.TrimPrefix(l.tokens[0].text, "/")) + " " + lower(l.tokens[1].text)
	if Name(word) != NameStatePush {
		return l
	}
	name := token{text: l.tokens[0].text + " " + l.tokens[1].text}
	return lexed{tokens: append([]token{name}, l.tokens[2:]...), open: l.open}
}

// The ways a word can stay open.
const (
	openSingle = "'"
	openDouble = `"`
	openEscape = `\`
)

// lexer splits by the rules of github.com/google/shlex, which Atlantis uses, with two differences: a # is
// a character like any other, because "apply #12" does not mean "apply"; and what looks like a space is
// one, because phones and editors put such characters in without being asked.
type lexer struct {
	out    []token
	word   strings.Builder
	inWord bool
	cur    token
}

func lex(line string) lexed {
	var x lexer
	quote, escaped := rune(0), false
	for _, r := range line {
		switch {
		case escaped:
			x.add(r, true)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped = true
			x.begin(true)
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			x.add(r, true)
		case r == '"' || r == '\'':
			quote = r
			x.begin(true)
		case isSpace(r):
			x.end()
		case !isInvisible(r):
			x.add(r, false)
		}
	}
	open := ""
	switch {
	case escaped:
		open = openEscape
	case quote != 0:
		open = string(quote)
	}
	x.end()
	return lexed{tokens: x.out, open: open}
}

func (x *lexer) begin(quoted bool) {
	if !x.inWord {
		x.inWord, x.cur = true, token{lead: quoted}
	}
	x.cur.quoted = x.cur.quoted || quoted
}

func (x *lexer) add(r rune, quoted bool) {
	x.begin(quoted)
	x.word.WriteRune(r)
}

func (x *lexer) end() {
	if !x.inWord {
		return
	}
	x.cur.text = x.word.String()
	x.out = append(x.out, x.cur)
	x.word.Reset()
	x.inWord = false
}

func isSpace(r rune) bool { return r == '\t' || unicode.Is(unicode.Zs, r) }

// isInvisible reports characters that take no room and change nothing a reader sees: zero-width spaces
// and joiners, byte order marks, soft hyphens, direction marks. Those that turn text around are not
// among them.
func isInvisible(r rune) bool {
	switch {
	case r >= '\u200b' && r <= '\u200f', r == '\u2060', r == '\ufeff', r == '\u00ad':
		return true
	default:
		return r >= '\ufe00' && r <= '\ufe0f'
	}
}

func isBlank(r rune) bool { return isSpace(r) || isInvisible(r) }

// isCode reports a line that Markdown shows as code because it is indented.
func isCode(line string) bool {
	column := 0
	for _, r := range line {
		switch r {
		case '\t':
			column += 4 - column%4
		case ' ':
			column++
		default:
			return column >= 4
		}
	}
	return false
}

// unquote takes one pair of backticks away: people copy commands from our own comments.
func unquote(line string) string {
	if len(line) < 2 || line[0] != '`' || line[len(line)-1] != '`' {
		return line
	}
	inner := line[1 : len(line)-1]
	if strings.Contains(inner, "`") {
		return line
	}
	return strings.TrimFunc(inner, isBlank)
}

// lower is for ASCII alone: the Kelvin sign is no k.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
