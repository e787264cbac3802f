package project

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// mostHCL is how much of one file is split into tokens; they take a few hundred times the room.
const mostHCL = 256 << 10

// facts are what matters of terraform's configuration files here.
type facts struct {
	// local are the sources of module calls that are directories of the repository, as they are written.
	local []string
	// unknown: there may be more of them. A source is not a literal, or a file could not be read.
	unknown bool
	// backend: there is a backend or cloud block, so this is a project and no mere module.
	backend bool
	// workspace is the name of the cloud workspace, if it is a literal.
	workspace string
}

func (f *facts) add(g facts) {
	f.local = append(f.local, g.local...)
	f.unknown = f.unknown || g.unknown
	f.backend = f.backend || g.backend
	if f.workspace == "" {
		f.workspace = g.workspace
	}
}

func (f *facts) source(s string, literal bool) {
	switch {
	case !literal:
		f.unknown = true
	case isLocal(s):
		f.local = append(f.local, strings.ReplaceAll(s, `\`, "/"))
	}
}

// isLocal: by terraform's rule only these beginnings make a path of a module's source.
func isLocal(s string) bool {
	for _, p := range []string{"./", "../", `.\`, `..\`} {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// factsOf reads a configuration file as far as it can be read.
func factsOf(name string, content []byte) facts {
	if !slices.ContainsFunc([]string{"module", "backend", "cloud"}, func(s string) bool { return bytes.Contains(content, []byte(s)) }) {
		return facts{}
	}
	if strings.HasSuffix(name, ".json") {
		return factsOfJSON(content)
	}
	if len(content) > mostHCL {
		return facts{unknown: true}
	}
	// Only the lexer of HCL is used. Its parser is recursive: a megabyte of "(" ends the process, and no
	// recover helps against that.
	tokens, _ := hclsyntax.LexConfig(content, name, hcl.InitialPos)
	s := scanner{tokens: tokens}
	s.scan()
	return s.facts
}

// scanner finds blocks and attributes among tokens. What is no configuration is skipped, line by line.
type scanner struct {
	tokens hclsyntax.Tokens
	at     int
	blocks []string
	facts  facts
}

func (s *scanner) kind(i int) hclsyntax.TokenType {
	if i >= len(s.tokens) {
		return hclsyntax.TokenEOF
	}
	return s.tokens[i].Type
}

func (s *scanner) scan() {
	for s.kind(s.at) != hclsyntax.TokenEOF {
		switch s.kind(s.at) {
		case hclsyntax.TokenIdent:
			s.item()
		case hclsyntax.TokenCBrace:
			s.blocks = s.blocks[:max(len(s.blocks)-1, 0)]
			s.at++
		case hclsyntax.TokenNewline, hclsyntax.TokenComment:
			s.at++
		default:
			s.skip()
		}
	}
}

// item reads "name = expression" or "type label label {".
func (s *scanner) item() {
	name := string(s.tokens[s.at].Bytes)
	s.at++
	if s.kind(s.at) == hclsyntax.TokenEqual {
		s.at++
		s.attribute(name)
		s.skip()
		return
	}
	for s.kind(s.at) == hclsyntax.TokenIdent || s.kind(s.at) == hclsyntax.TokenOQuote {
		if s.kind(s.at) == hclsyntax.TokenIdent {
			s.at++
			continue
		}
		for s.at++; s.kind(s.at) == hclsyntax.TokenQuotedLit; s.at++ {
		}
		if s.kind(s.at) != hclsyntax.TokenCQuote {
			s.skip()
			return
		}
		s.at++
	}
	if s.kind(s.at) != hclsyntax.TokenOBrace {
		s.skip()
		return
	}
	s.at++
	s.blocks = append(s.blocks, name)
	if s.in("terraform", "backend") || s.in("terraform", "cloud") {
		s.facts.backend = true
	}
}

func (s *scanner) in(blocks ...string) bool { return slices.Equal(s.blocks, blocks) }

func (s *scanner) attribute(name string) {
	switch {
	case name == "source" && s.in("module"):
		s.facts.source(s.literal())
	case name == "name" && s.in("terraform", "cloud", "workspaces"):
		if w, ok := s.literal(); ok && s.facts.workspace == "" {
			s.facts.workspace = w
		}
	}
}

// literal answers the text of an expression that is a quoted text and nothing else.
func (s *scanner) literal() (string, bool) {
	if s.kind(s.at) != hclsyntax.TokenOQuote {
		return "", false
	}
	end := s.at + 1
	for s.kind(end) == hclsyntax.TokenQuotedLit {
		end++
	}
	if s.kind(end) != hclsyntax.TokenCQuote {
		return "", false
	}
	switch s.kind(end + 1) {
	case hclsyntax.TokenNewline, hclsyntax.TokenComment, hclsyntax.TokenCBrace, hclsyntax.TokenEOF:
	default:
		return "", false
	}
	var text []byte
	for _, t := range s.tokens[s.at+1 : end] {
		text = append(text, t.Bytes...)
	}
	if !bytes.ContainsAny(text, `\$%`) {
		return string(text), true
	}
	// Escapes. There is nothing nested in this: it is one quoted text.
	expr, diags := hclsyntax.ParseExpression(slices.Concat([]byte{'"'}, text, []byte{'"'}), "", hcl.InitialPos)
	if diags.HasErrors() {
		return "", false
	}
	v, diags := expr.Value(nil)
	if diags.HasErrors() {
		return "", false
	}
	return v.AsString(), true
}

// skip goes behind the end of the line, which is where an expression ends unless something is open; or to
// the brace that closes the block it stands in.
func (s *scanner) skip() {
	open := 0
	for ; s.kind(s.at) != hclsyntax.TokenEOF; s.at++ {
		t := s.tokens[s.at]
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenOQuote,
			hclsyntax.TokenOHeredoc, hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			open++
		case hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenCQuote,
			hclsyntax.TokenCHeredoc, hclsyntax.TokenTemplateSeqEnd:
			open = max(open-1, 0)
		case hclsyntax.TokenCBrace:
			if open == 0 {
				return
			}
			open--
		case hclsyntax.TokenNewline:
			if open == 0 {
				s.at++
				return
			}
		case hclsyntax.TokenComment:
			if open == 0 && bytes.HasSuffix(t.Bytes, []byte("\n")) {
				s.at++
				return
			}
		default:
		}
	}
}

func factsOfJSON(content []byte) facts {
	var root any
	if json.Unmarshal(content, &root) != nil {
		return facts{}
	}
	var f facts
	for _, doc := range objects(root) {
		for _, modules := range objects(doc["module"]) {
			for _, calls := range modules {
				for _, call := range objects(calls) {
					f.source(literalJSON(call["source"]))
				}
			}
		}
		for _, tf := range objects(doc["terraform"]) {
			f.backend = f.backend || tf["backend"] != nil || tf["cloud"] != nil
			for _, cloud := range objects(tf["cloud"]) {
				for _, ws := range objects(cloud["workspaces"]) {
					if name, ok := literalJSON(ws["name"]); ok && f.workspace == "" {
						f.workspace = name
					}
				}
			}
		}
	}
	return f
}

// objects answers an object, or those in a list: in JSON, blocks are written in either way.
func objects(v any) []map[string]any {
	switch v := v.(type) {
	case map[string]any:
		return []map[string]any{v}
	case []any:
		var out []map[string]any
		for _, el := range v {
			if o, ok := el.(map[string]any); ok {
				out = append(out, o)
			}
		}
		return out
	default:
		return nil
	}
}

// literalJSON: every text in JSON is a template.
func literalJSON(v any) (string, bool) {
	s, ok := v.(string)
	return s, ok && !strings.Contains(s, "${") && !strings.Contains(s, "%{")
}
