package terraform

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrNotPlan is ReadPlan's answer for a file that is no zip archive with a plan in it: a cloud plan
// is a JSON bookmark, and a plan that OpenTofu encrypted is no archive.
var ErrNotPlan = errors.New("this is no readable plan file")

// ErrPlanFormat is ReadPlan's answer for a plan whose format we do not know.
var ErrPlanFormat = errors.New("the plan file has a format that is not known here")

// errPlanTooLarge is an ErrNotPlan.
var errPlanTooLarge = fmt.Errorf("%w: it is larger than %d MiB", ErrNotPlan, maxPlan>>20)

const (
	planEntry  = "tfplan"
	planFormat = 3
	// maxPlan bounds the unpacked plan description, so that a prepared archive cannot fill the memory.
	maxPlan = 64 << 20
	// maxPlanResources bounds what a plan of that size could name with the shortest records.
	maxPlanResources = 200_000
)

// PlanFacts is what a plan file says about itself.
type PlanFacts struct {
	// TerraformVersion made the plan.
	TerraformVersion string
	// Workspace is the workspace that it was planned in, BackendType where its state is kept.
	Workspace   string
	BackendType string
	// Errored plans are incomplete and cannot be applied.
	Errored bool
	// Resources is in the order of addresses and leaves out what stays as it is.
	Resources []Resource
	Changes   Changes
}

// ReadPlan reads the facts of a plan file: a zip archive whose entry "tfplan" is a protobuf message
// (terraform's internal/plans/planproto, format 3, the same numbers in OpenTofu). It answers
// ErrNotPlan or ErrPlanFormat for what it cannot read.
func ReadPlan(path string) (PlanFacts, error) {
	f, err := os.Open(path) //nolint:gosec // the caller's file
	if err != nil {
		return PlanFacts{}, fmt.Errorf("opening the plan file: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return PlanFacts{}, fmt.Errorf("opening the plan file: %w", err)
	}
	return readPlan(f, info.Size())
}

func readPlan(r io.ReaderAt, size int64) (PlanFacts, error) {
	archive, err := zip.NewReader(r, size)
	if err != nil {
		return PlanFacts{}, fmt.Errorf("%w: %w", ErrNotPlan, err)
	}
	for _, entry := range archive.File {
		if entry.Name == planEntry {
			return readPlanEntry(entry)
		}
	}
	return PlanFacts{}, fmt.Errorf("%w: it has no entry %q", ErrNotPlan, planEntry)
}

func readPlanEntry(entry *zip.File) (PlanFacts, error) {
	rc, err := entry.Open()
	if err != nil {
		return PlanFacts{}, fmt.Errorf("%w: %w", ErrNotPlan, err)
	}
	defer func() { _ = rc.Close() }()
	// The size in the header is the archive's word only: the limit is on what comes out.
	data, err := io.ReadAll(io.LimitReader(rc, maxPlan+1))
	if err != nil {
		return PlanFacts{}, fmt.Errorf("%w: %w", ErrNotPlan, err)
	}
	if len(data) > maxPlan {
		return PlanFacts{}, errPlanTooLarge
	}
	return parsePlan(data)
}

func parsePlan(data []byte) (PlanFacts, error) {
	var facts PlanFacts
	facts.Changes.Known = true
	var format uint64
	err := eachField(data, func(num int, f field) error {
		switch num {
		case 1:
			format = f.varint
		case 3:
			return facts.addResource(f.bytes)
		case 4:
			return facts.addOutput(f.bytes)
		case 13:
			return facts.addBackend(f.bytes)
		case 14:
			facts.TerraformVersion = string(f.bytes)
		case 20:
			facts.Errored = f.varint != 0
		}
		return nil
	})
	if err != nil {
		return PlanFacts{}, err
	}
	if format != planFormat {
		return PlanFacts{}, fmt.Errorf("%w: %d", ErrPlanFormat, format)
	}
	slices.SortFunc(facts.Resources, compareResources)
	return facts, nil
}

func (p *PlanFacts) addResource(data []byte) error {
	r, err := parseResourceChange(data)
	if err != nil || r.Action == "" {
		return err
	}
	if len(p.Resources) == maxPlanResources {
		return fmt.Errorf("%w: it names more than %d resources", ErrNotPlan, maxPlanResources)
	}
	p.Resources = append(p.Resources, r)
	p.Changes.count(r)
	return nil
}

func (p *PlanFacts) addOutput(data []byte) error {
	return eachField(data, func(num int, f field) error {
		if num != 2 {
			return nil
		}
		c, err := parseChange(f.bytes)
		p.Changes.Outputs = p.Changes.Outputs || c.action != actionNoop
		return err
	})
}

func (p *PlanFacts) addBackend(data []byte) error {
	return eachField(data, func(num int, f field) error {
		switch num {
		case 1:
			p.BackendType = string(f.bytes)
		case 3:
			p.Workspace = string(f.bytes)
		}
		return nil
	})
}

// The values of planproto's enum Action that terraform and OpenTofu agree on.
const (
	actionNoop             = 0
	actionCreate           = 1
	actionRead             = 2
	actionUpdate           = 3
	actionDelete           = 5
	actionDeleteThenCreate = 6
	actionCreateThenDelete = 7
	actionForget           = 8
)

type change struct {
	action    uint64
	importing bool
}

func parseChange(data []byte) (change, error) {
	var c change
	err := eachField(data, func(num int, f field) error {
		switch num {
		case 1:
			c.action = f.varint
		case 5:
			c.importing = true
		}
		return nil
	})
	return c, err
}

// parseResourceChange reads one ResourceInstanceChange. Its Action is empty when the object stays as
// it is and where it is.
func parseResourceChange(data []byte) (Resource, error) {
	var r Resource
	var c change
	var moved bool
	err := eachField(data, func(num int, f field) (err error) {
		switch num {
		case 7:
			r.Deposed = string(f.bytes)
		case 9:
			c, err = parseChange(f.bytes)
		case 11:
			var path string
			path, err = parsePath(f.bytes)
			r.ForcedBy = append(r.ForcedBy, path)
		case 13:
			r.Address = string(f.bytes)
		case 14:
			moved = len(f.bytes) > 0
		}
		return err
	})
	if err != nil {
		return Resource{}, err
	}
	if r.Address == "" {
		return Resource{}, fmt.Errorf("%w: a resource has no address", ErrNotPlan)
	}
	r.Imported = c.importing
	r.Action, err = actionName(c, moved)
	slices.Sort(r.ForcedBy)
	return r, err
}

func actionName(c change, moved bool) (string, error) {
	switch c.action {
	case actionNoop:
		switch {
		case c.importing:
			return Import, nil
		case moved:
			return Move, nil
		}
		return "", nil
	case actionCreate:
		return Create, nil
	case actionRead:
		return Read, nil
	case actionUpdate:
		return Update, nil
	case actionDelete:
		return Delete, nil
	case actionDeleteThenCreate, actionCreateThenDelete:
		return Replace, nil
	case actionForget:
		return Forget, nil
	}
	return "", fmt.Errorf("%w: action %d", ErrPlanFormat, c.action)
}

// field is one value of a protobuf message: varint for numbers, bytes for strings and messages.
type field struct {
	varint uint64
	bytes  []byte
}

// eachField calls fn for every field of a message. Fixed-width and group fields do not occur in what
// we read and are skipped.
func eachField(data []byte, fn func(num int, f field) error) error {
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return fmt.Errorf("%w: %w", ErrNotPlan, protowire.ParseError(n))
		}
		data = data[n:]
		var f field
		switch typ {
		case protowire.VarintType:
			f.varint, n = protowire.ConsumeVarint(data)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(data)
		default:
			n = protowire.ConsumeFieldValue(num, typ, data)
		}
		if n < 0 {
			return fmt.Errorf("%w: %w", ErrNotPlan, protowire.ParseError(n))
		}
		data = data[n:]
		if err := fn(int(num), f); err != nil {
			return err
		}
	}
	return nil
}
