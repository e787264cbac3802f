package terraform

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// ApplyLog collects what the lines of `apply -json` say. The zero value is ready; Add takes one line
// after the other.
type ApplyLog struct {
	// Failures are the errors, in order.
	Failures []Failure
	// Complete is set by the summary that terraform writes after an apply without errors.
	Complete bool
	// Changed reports that an operation on an object was completed, or that an object was created and
	// its provisioner ran.
	Changed bool
	// Started reports that an operation on an object was begun.
	Started bool
	// State is the state that terraform could store neither in its backend nor in errored.tfstate. Nil
	// when there is none. It holds secrets in clear.
	State []byte

	ops map[op]*progress
}

type op struct{ address, action string }

type progress struct{ started, completed, errored int }

// message is what we read of terraform's machine-readable UI, version 1.x:
// https://developer.hashicorp.com/terraform/internals/machine-readable-ui
type message struct {
	Level      string                 `json:"@level"`
	Message    string                 `json:"@message"`
	Type       string                 `json:"type"`
	Hook       *hook                  `json:"hook"`
	Diagnostic *diagnostic            `json:"diagnostic"`
	Outputs    map[string]outputValue `json:"outputs"`
	State      json.RawMessage        `json:"state"`
}

type hook struct {
	Resource struct {
		Addr string `json:"addr"`
	} `json:"resource"`
	Action string `json:"action"`
}

type outputValue struct {
	Sensitive bool            `json:"sensitive"`
	Value     json.RawMessage `json:"value"`
}

type diagnostic struct {
	Severity string   `json:"severity"`
	Summary  string   `json:"summary"`
	Detail   string   `json:"detail"`
	Address  string   `json:"address"`
	Range    *diRange `json:"range"`
	Snippet  *snippet `json:"snippet"`
}

type diRange struct {
	Filename string `json:"filename"`
	Start    struct {
		Line int `json:"line"`
	} `json:"start"`
}

type snippet struct {
	Context   string `json:"context"`
	Code      string `json:"code"`
	StartLine int    `json:"start_line"`
	Values    []struct {
		Traversal string `json:"traversal"`
		Statement string `json:"statement"`
	} `json:"values"`
}

// parseMessage reads a line of the machine-readable UI. ok is false for any other line.
func parseMessage(line string) (m message, ok bool) {
	if !strings.HasPrefix(line, `{"@`) {
		return message{}, false
	}
	if err := json.Unmarshal([]byte(line), &m); err != nil {
		return message{}, false
	}
	return m, m.Type != "" || m.Message != ""
}

// Add takes one line. Lines that are not terraform's messages are skipped.
func (l *ApplyLog) Add(line string) {
	m, ok := parseMessage(line)
	if !ok {
		return
	}
	switch {
	case m.Diagnostic != nil && m.Diagnostic.Severity == "error":
		text := Clean(m.Diagnostic.text())
		l.Failures = append(l.Failures, Failure{Summary: limitLine(Clean(m.Diagnostic.Summary)), Text: text})
	case m.Type == "change_summary":
		l.Complete = true
	case len(m.State) > 0:
		l.State = m.State
	case m.Hook != nil:
		l.addHook(m.Type, *m.Hook)
	}
}

func (l *ApplyLog) addHook(kind string, h hook) {
	if kind == "provision_start" {
		// Provisioners of a creation run after the object exists; a failure leaves it tainted.
		l.Changed = true
		return
	}
	if l.ops == nil {
		l.ops = make(map[op]*progress)
	}
	key := op{h.Resource.Addr, h.Action}
	p := l.ops[key]
	if p == nil {
		p = new(progress)
		l.ops[key] = p
	}
	switch kind {
	case "apply_start":
		p.started++
		l.Started = true
	case "apply_complete":
		p.completed++
		l.Changed = l.Changed || h.Action != Read
	case "apply_errored":
		p.errored++
	}
}

func (l *ApplyLog) progress(address, action string) progress {
	if p := l.ops[op{address, action}]; p != nil {
		return *p
	}
	return progress{}
}

// Failure is all errors as one: the first one's summary and every text. Nil when there was none.
func (l *ApplyLog) Failure() *Failure {
	if len(l.Failures) == 0 {
		return nil
	}
	texts := make([]string, len(l.Failures))
	for i, f := range l.Failures {
		texts[i] = f.Text
	}
	return &Failure{
		Summary: l.Failures[0].Summary, Text: Limit(strings.Join(texts, "\n\n"), maxFailure), Lock: lockOf(l.Failures[0]),
	}
}

// Outcomes says what became of each planned resource. succeeded is terraform's exit code 0; whole is
// false when lines of the log are missing, and then what was not seen has no outcome.
func (l *ApplyLog) Outcomes(planned []Resource, succeeded, whole bool) []Resource {
	resources := slices.Clone(planned)
	for i, r := range resources {
		outcome := l.outcome(r)
		switch {
		case succeeded:
			outcome = Done
		case outcome == NotReached && (!whole || isSilent(r.Action)):
			outcome = ""
		}
		resources[i].Outcome = outcome
	}
	return resources
}

// isSilent reports actions that terraform carries out without a message.
func isSilent(action string) bool {
	return action == Import || action == Forget || action == Move
}

func (l *ApplyLog) outcome(r Resource) string {
	if r.Action == Replace {
		return l.replaceOutcome(r.Address)
	}
	p := l.progress(r.Address, r.Action)
	switch {
	case p.errored > 0 || p.started > p.completed:
		return DidFail
	case p.completed > 0:
		return Done
	}
	return NotReached
}

func (l *ApplyLog) replaceOutcome(address string) string {
	destroyed, created := l.progress(address, Delete), l.progress(address, Create)
	switch {
	case destroyed.completed > 0 && created.completed > 0:
		return Done
	case destroyed.completed > 0:
		return HalfDone
	case destroyed.started+created.started > 0:
		return DidFail
	}
	return NotReached
}

// text writes a diagnostic as terraform itself does without colours.
func (d *diagnostic) text() string {
	var b strings.Builder
	title := "Error"
	if d.Severity != "error" {
		title = "Warning"
	}
	fmt.Fprintf(&b, "%s: %s\n", title, d.Summary)
	if d.Address != "" && d.Range == nil {
		fmt.Fprintf(&b, "\n  with %s\n", d.Address)
	}
	if d.Range != nil {
		d.writeSource(&b)
	}
	if detail := strings.TrimSpace(d.Detail); detail != "" {
		fmt.Fprintf(&b, "\n%s\n", detail)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (d *diagnostic) writeSource(b *strings.Builder) {
	b.WriteByte('\n')
	if d.Address != "" {
		fmt.Fprintf(b, "  with %s,\n", d.Address)
	}
	fmt.Fprintf(b, "  on %s line %d", d.Range.Filename, d.Range.Start.Line)
	if d.Snippet == nil {
		b.WriteString(":\n")
		return
	}
	if d.Snippet.Context != "" {
		fmt.Fprintf(b, ", in %s", d.Snippet.Context)
	}
	b.WriteString(":\n")
	for i, line := range strings.Split(d.Snippet.Code, "\n") {
		fmt.Fprintf(b, "%4d: %s\n", d.Snippet.StartLine+i, line)
	}
	for _, v := range d.Snippet.Values {
		fmt.Fprintf(b, "    %s %s\n", v.Traversal, v.Statement)
	}
}

// HumanLine turns a line of `apply -json` into the lines that terraform writes for people; any other
// line is only cleaned. ok is false when people would see nothing.
func HumanLine(line string) (text string, ok bool) {
	m, isMessage := parseMessage(line)
	if !isMessage {
		line = Clean(line)
		return line, true
	}
	switch {
	case m.Diagnostic != nil:
		return "\n" + Clean(m.Diagnostic.text()) + "\n", true
	case m.Type == "version" || m.Type == "planned_change" || m.Type == "resource_drift":
		return "", false
	case m.Type == "change_summary":
		return "\n" + Clean(m.Message), true
	case m.Type == "outputs":
		return Clean(outputsText(m.Outputs)), len(m.Outputs) > 0
	}
	return Clean(m.Message), true
}

func outputsText(outputs map[string]outputValue) string {
	names := make([]string, 0, len(outputs))
	for name := range outputs {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	b.WriteString("\nOutputs:\n")
	for _, name := range names {
		value := string(outputs[name].Value)
		if outputs[name].Sensitive {
			value = "<sensitive>"
		}
		fmt.Fprintf(&b, "\n%s = %s", name, value)
	}
	return b.String()
}
