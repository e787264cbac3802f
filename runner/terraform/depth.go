package terraform

import (
	"bytes"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// maxDepth is how deep blocks and expressions may be nested. HCL's parsers are recursive: a megabyte of
// "(" ends the whole process, and no recover helps against that.
const maxDepth = 500

// tooDeep reports a file that the parser of native syntax must not get. It goes by tokens, which are found
// without recursion.
func tooDeep(src []byte) bool {
	could := 0
	for _, b := range src {
		if bytes.IndexByte([]byte("([{!-?+*/%=<>&|"), b) >= 0 {
			could++
		}
	}
	if could <= maxDepth {
		return false
	}
	tokens, _ := hclsyntax.LexConfig(src, "", hcl.InitialPos)
	d := depth{open: []level{{lines: true, begun: true}}}
	for _, t := range tokens {
		if d.add(t); d.total > maxDepth {
			return true
		}
	}
	return false
}

// depth follows how deep the parser is in its recursion at a token, or deeper.
type depth struct {
	open  []level // the first is the file
	total int
}

// level is an open bracket with the operators since the beginning of the expression in it: the parser
// goes one level deeper for each.
type level struct {
	operators int
	// lines: the end of a line ends an expression.
	lines bool
	begun bool
}

func (d *depth) add(t hclsyntax.Token) {
	in := &d.open[len(d.open)-1]
	isBlank := t.Type == hclsyntax.TokenNewline || t.Type == hclsyntax.TokenComment
	if !in.begun && !isBlank {
		in.begun = true
		// A "for" in braces goes on over line ends.
		in.lines = in.lines && string(t.Bytes) != "for"
	}
	switch t.Type {
	case hclsyntax.TokenOBrace:
		d.push(true)
	case hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc,
		hclsyntax.TokenTemplateInterp:
		d.push(false)
	case hclsyntax.TokenTemplateControl: // "if" and "for" stay open behind their own end
		in.operators++
		d.total++
		d.push(false)
	case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenCQuote,
		hclsyntax.TokenCHeredoc, hclsyntax.TokenTemplateSeqEnd:
		if len(d.open) > 1 {
			d.total -= in.operators + 1
			d.open = d.open[:len(d.open)-1]
		}
	case hclsyntax.TokenComma:
		d.end(in)
	case hclsyntax.TokenBang, hclsyntax.TokenMinus, hclsyntax.TokenQuestion, hclsyntax.TokenPlus,
		hclsyntax.TokenStar, hclsyntax.TokenSlash, hclsyntax.TokenPercent, hclsyntax.TokenEqualOp,
		hclsyntax.TokenNotEqual, hclsyntax.TokenLessThan, hclsyntax.TokenLessThanEq, hclsyntax.TokenGreaterThan,
		hclsyntax.TokenGreaterThanEq, hclsyntax.TokenAnd, hclsyntax.TokenOr:
		in.operators++
		d.total++
	default:
		if isBlank && in.lines {
			d.end(in)
		}
	}
}

func (d *depth) push(lines bool) {
	d.open = append(d.open, level{lines: lines})
	d.total++
}

// end is the end of an expression in a level.
func (d *depth) end(in *level) {
	d.total -= in.operators
	in.operators = 0
}
