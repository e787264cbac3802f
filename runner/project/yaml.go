package project

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// mostConfig is how long a configuration may be, in bytes.
	mostConfig = 1 << 20
	// mostNodes is how many values are looked at, counting what an alias stands for each time.
	mostNodes = 200_000
	// mostProblems is how many mistakes are listed.
	mostProblems = 100
)

// quoted are the styles of texts that can be nothing but texts.
const quoted = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle

// reader walks a YAML document by hand, because a decoder knows neither the column nor the key of what it
// complains about, stops at the first type error, and words it for programmers.
type reader struct {
	file     string
	problems []Problem
	nodes    int
	tired    bool // gave up after too many nodes
}

// value is a node and the path of the key that led to it.
type value struct {
	node *yaml.Node
	key  string
}

// at is the value of one element of a list.
func (v value) at(i int, n *yaml.Node) value {
	return value{node: n, key: v.key + "[" + strconv.Itoa(i) + "]"}
}

// in is the value of a key of a mapping.
func (v value) in(key string, n *yaml.Node) value {
	if v.key != "" {
		key = v.key + "." + key
	}
	return value{node: n, key: key}
}

// isNull reports "key:" without a value, which is the same as no key.
func (v value) isNull() bool {
	n := follow(v.node)
	return n == nil || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// empty reports a value that has nothing in it.
func (v value) empty() bool {
	n := follow(v.node)
	return v.isNull() || n.Kind != yaml.ScalarNode && len(n.Content) == 0
}

func (v value) line() int { return v.node.Line }

// follow answers what an alias stands for. An alias never stands for another one.
func follow(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func (r *reader) problem(v value, format string, args ...any) {
	p := Problem{File: r.file, Key: v.key, Text: fmt.Sprintf(format, args...)}
	if v.node != nil {
		p.Line, p.Column = v.node.Line, v.node.Column
	}
	r.problems = append(r.problems, p)
}

// err answers all problems, nil if there are none.
func (r *reader) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, compareProblems)
	if n := len(r.problems) - mostProblems; n > 0 {
		r.problems = append(r.problems[:mostProblems], Problem{File: r.file, Text: fmt.Sprintf("%d more problems", n)})
	}
	return &ProblemsError{File: r.file, Problems: r.problems}
}

// parse answers the root of the file's only document, nil if the file is empty or not YAML at all.
func (r *reader) parse(content []byte) *yaml.Node {
	if len(content) > mostConfig {
		r.problems = append(r.problems, Problem{File: r.file, Text: "is longer than 1 MiB"})
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(content))
	var doc, next yaml.Node
	err := decode(dec, &doc)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		r.syntax(content, err)
		return nil
	}
	switch err := decode(dec, &next); {
	case errors.Is(err, io.EOF):
	case err != nil:
		r.syntax(content, err)
	default:
		r.problem(value{node: &next}, "a second document begins here. Only one is read; take the `---` away")
	}
	if len(doc.Content) != 1 {
		return nil
	}
	return doc.Content[0]
}

// decode turns a panic of the library into an error: the file is a stranger's, the process is ours.
func decode(dec *yaml.Decoder, into *yaml.Node) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("not readable: %v", p)
		}
	}()
	return dec.Decode(into)
}

// syntax words an error of the YAML parser.
func (r *reader) syntax(content []byte, err error) {
	p := Problem{File: r.file}
	p.Text = strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(p.Text, "line "); ok {
		if num, text, ok := strings.Cut(rest, ": "); ok {
			if n, err := strconv.Atoi(num); err == nil {
				p.Line, p.Column, p.Text = max(n, 1), 1, text
			}
		}
	}
	if name, ok := strings.CutPrefix(p.Text, "unknown anchor '"); ok {
		alias := "*" + strings.TrimSuffix(name, "' referenced")
		p.Line, p.Column = position(content, alias)
	}
	p.Text = "not YAML: " + strings.Trim(code(p.Text), "`")
	if line, column, ok := leadingTab(content); ok {
		p.Line, p.Column, p.Text = line, column, "a tab. YAML is indented with spaces"
	}
	r.problems = append(r.problems, p)
}

// position finds the first place where a text stands.
func position(content []byte, text string) (line, column int) {
	before, _, ok := bytes.Cut(content, []byte(text))
	if !ok {
		return 0, 0
	}
	return bytes.Count(before, []byte("\n")) + 1, len(before) - bytes.LastIndexByte(before, '\n')
}

// leadingTab finds a line that is indented with a tab.
func leadingTab(content []byte) (line, column int, ok bool) {
	for l := range bytes.Lines(content) {
		line++
		indent := len(l) - len(bytes.TrimLeft(l, " \t"))
		if i := bytes.IndexByte(l[:indent], '\t'); i >= 0 && len(bytes.TrimSpace(l)) > 0 {
			return line, i + 1, true
		}
	}
	return 0, 0, false
}

// spend counts a value, and reports whether there may be more.
func (r *reader) spend(v value) bool {
	if r.nodes++; r.nodes <= mostNodes {
		return true
	}
	if !r.tired {
		r.tired = true
		r.problem(v, "too many values, with what the aliases stand for")
	}
	return false
}

// field is one key of a mapping with its value.
type field struct {
	name string
	key  value // the key itself
	value
}

// fields answers the keys of a mapping, once each, in the order of the file. Keys that come in through
// "<<" stand behind and give way to the mapping's own. A missing value has none; anything but a mapping
// is a problem.
func (r *reader) fields(v value) []field {
	if v.isNull() {
		return nil
	}
	n := follow(v.node)
	if n.Kind != yaml.MappingNode {
		r.problem(v, "has to have keys of its own, and is %s", kindOf(n))
		return nil
	}
	var out []field
	var merged []value
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, val := follow(n.Content[i]), n.Content[i+1]
		if !r.spend(value{node: n.Content[i], key: v.key}) {
			return out
		}
		switch {
		case k.Kind != yaml.ScalarNode:
			r.problem(value{node: n.Content[i], key: v.key}, "a key has to be a text, and is %s", kindOf(k))
			continue
		case k.ShortTag() == "!!merge":
			merged = append(merged, v.in("<<", val))
			continue
		}
		f := field{name: k.Value, key: v.in(k.Value, n.Content[i]), value: v.in(k.Value, val)}
		if first, twice := seen[f.name]; twice {
			r.problem(f.key, "stands here twice, the first time in line %d", first)
			continue
		}
		seen[f.name] = k.Line
		out = append(out, f)
	}
	for _, m := range merged {
		out = r.merge(out, seen, m)
	}
	return out
}

// merge adds the keys of "<<: *x" and "<<: [*x, *y]".
func (r *reader) merge(out []field, seen map[string]int, m value) []field {
	n := follow(m.node)
	from := []*yaml.Node{m.node}
	if n.Kind == yaml.SequenceNode {
		from = n.Content
	}
	for _, one := range from {
		src := follow(one)
		if src.Kind != yaml.MappingNode {
			r.problem(m, "has to be a mapping, and is %s", kindOf(src))
			continue
		}
		for i := 0; i+1 < len(src.Content); i += 2 {
			k := follow(src.Content[i])
			if !r.spend(m) {
				return out
			}
			if k.Kind != yaml.ScalarNode || k.ShortTag() == "!!merge" {
				r.problem(m, "what is merged can have plain keys only")
				continue
			}
			if _, own := seen[k.Value]; own {
				continue
			}
			seen[k.Value] = k.Line
			at := value{node: m.node, key: strings.TrimSuffix(strings.TrimSuffix(m.key, "<<"), ".")}
			out = append(out, field{name: k.Value, key: at.in(k.Value, src.Content[i]), value: at.in(k.Value, src.Content[i+1])})
		}
	}
	return out
}

// known drops the keys that nobody knows, each of them a problem. A field without a value is dropped in
// silence: it is as if it were not there.
func (r *reader) known(fields []field, names ...string) []field {
	return slices.DeleteFunc(fields, func(f field) bool {
		if !slices.Contains(names, f.name) {
			r.problem(f.key, "unknown key%s", didYouMean(f.name, names))
			return true
		}
		return f.isNull()
	})
}

// list answers the elements of a list; anything else is a problem.
func (r *reader) list(v value) []value {
	if v.isNull() {
		return nil
	}
	n := follow(v.node)
	if n.Kind != yaml.SequenceNode {
		r.problem(v, "has to be a list, and is %s", kindOf(n))
		return nil
	}
	out := make([]value, 0, len(n.Content))
	for i, c := range n.Content {
		el := v.at(i, c)
		if !r.spend(el) {
			break
		}
		out = append(out, el)
	}
	return out
}

// text answers a scalar as it is written: numbers, dates and yes are texts, too.
func (r *reader) text(v value) (string, bool) {
	n := follow(v.node)
	if n.Kind != yaml.ScalarNode || v.isNull() {
		r.problem(v, "has to be a text, and is %s", kindOf(n))
		return "", false
	}
	return n.Value, true
}

func (r *reader) texts(v value) []string {
	var out []string
	for _, el := range r.list(v) {
		if s, ok := r.text(el); ok {
			out = append(out, s)
		}
	}
	return out
}

// boolean reads true and false, and the yes and no of older YAML, which Atlantis reads as well.
func (r *reader) boolean(v value) (val, ok bool) {
	n := follow(v.node)
	if n.Kind == yaml.ScalarNode && n.Style&quoted == 0 {
		switch strings.ToLower(n.Value) {
		case "true", "yes", "y", "on":
			return true, true
		case "false", "no", "n", "off":
			return false, true
		}
	}
	r.problem(v, "has to be `true` or `false`, and is %s", kindOf(n))
	return false, false
}

func (r *reader) integer(v value) (int, bool) {
	n := follow(v.node)
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int" {
		if i, err := strconv.Atoi(n.Value); err == nil {
			return i, true
		}
	}
	r.problem(v, "has to be a whole number, and is %s", kindOf(n))
	return 0, false
}

// oneOf reads one of a few words.
func (r *reader) oneOf(v value, words ...string) (string, bool) {
	s, ok := r.text(v)
	if ok && !slices.Contains(words, s) {
		r.problem(v, "%s is not one of %s%s", code(s), alternatives(words), didYouMean(s, words))
		return "", false
	}
	return s, ok
}

// kindOf names what a value is, for people.
func kindOf(n *yaml.Node) string {
	if n.Kind == yaml.SequenceNode {
		return "a list"
	}
	if n.Kind == yaml.MappingNode {
		return "a mapping"
	}
	switch n.ShortTag() {
	case "!!null":
		return "empty"
	case "!!int", "!!float":
		return "the number " + code(n.Value)
	case "!!bool":
		return code(n.Value)
	}
	if n.Style&quoted != 0 {
		return "the text " + code(`"`+n.Value+`"`)
	}
	return "the text " + code(n.Value)
}
