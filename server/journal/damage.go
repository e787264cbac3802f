package journal

import (
	"errors"
	"fmt"
)

// DamagedError names records that could not be read: spoilt ones, those whose text is lost, and those
// that a newer Tidegate made. Lists answer it together with all the records that they could read, so
// that a damaged one costs only itself where the others are enough.
type DamagedError struct {
	Records []error
}

func (e *DamagedError) Error() string {
	if len(e.Records) == 1 {
		return e.Records[0].Error()
	}
	return fmt.Sprintf("%d records can't be read, the first: %v", len(e.Records), e.Records[0])
}

// Unwrap answers what is wrong with each.
func (e *DamagedError) Unwrap() []error { return e.Records }

// Damaged reports whether err tells of damaged records, which another attempt will not mend.
func Damaged(err error) bool {
	damage := new(DamagedError)
	return errors.As(err, &damage)
}

// damaged is one record that can't be read.
func damaged(format string, args ...any) error {
	return &DamagedError{Records: []error{fmt.Errorf(format, args...)}}
}

// gathered is a list in the making.
type gathered[T any] struct {
	all    []T
	damage []error
}

// add takes a record, or what is damaged of it. Any other error is answered.
func (g *gathered[T]) add(v T, err error) error {
	if err == nil {
		g.all = append(g.all, v)
		return nil
	}
	return g.damaged(err)
}

func (g *gathered[T]) damaged(err error) error {
	damage := new(DamagedError)
	if !errors.As(err, &damage) {
		return err
	}
	g.damage = append(g.damage, damage.Records...)
	return nil
}

func (g *gathered[T]) answer() ([]T, error) {
	if len(g.damage) > 0 {
		return g.all, &DamagedError{Records: g.damage}
	}
	return g.all, nil
}
