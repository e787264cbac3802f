package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// usageError is a command line that is wrong as it stands.
type usageError struct {
	err error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// flagProblem words what is wrong with the flags. The parser repeats whole arguments where it finds
// one hyphen or three, and a secret may stand in them.
func flagProblem(flags *pflag.FlagSet, err error) error {
	given := ""
	var unknown *pflag.NotExistError
	var syntax *pflag.InvalidSyntaxError
	var lacks *pflag.ValueRequiredError
	switch {
	case errors.As(err, &unknown):
		given = unknown.GetSpecifiedShortnames()
	case errors.As(err, &lacks):
		given = lacks.GetSpecifiedShortnames()
	case errors.As(err, &syntax):
		given = syntax.GetSpecifiedFlag()
	}
	if unknown != nil && given == "" {
		if near := nearFlags(flags, unknown.GetSpecifiedName()); len(near) > 0 {
			return fmt.Errorf("%w; did you mean %s?", err, strings.Join(near, " or "))
		}
	}
	if given == "" {
		return err
	}
	name, _, _ := strings.Cut(strings.TrimLeft(given, "-"), "=")
	if flags.Lookup(name) == nil {
		return errors.New("a flag begins with two hyphens; one of those given does not")
	}
	return fmt.Errorf("a flag begins with two hyphens: --%s", name)
}

// nearFlags are the flags that were probably meant: cobra looks for names of commands, and finds those of
// flags as well.
func nearFlags(flags *pflag.FlagSet, given string) []string {
	const most = 3
	names := &cobra.Command{SuggestionsMinimumDistance: 2}
	flags.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names.AddCommand(&cobra.Command{Use: f.Name, Run: func(*cobra.Command, []string) {}})
		}
	})
	near := names.SuggestionsFor(given)
	for i := range near {
		near[i] = "--" + near[i]
	}
	return near[:min(len(near), most)]
}

// noArgs refuses what is no flag. It does not repeat it: it could be the value of a mistyped flag.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{fmt.Errorf("%s takes flags only; something else stands among them", c.Name())}
	}
	return nil
}

// noCommand is for a command that has others below it.
func noCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return &usageError{unknownCommand(c, args[0])}
}

// unknownCommand names the command that was probably meant.
func unknownCommand(c *cobra.Command, given string) error {
	c.SuggestionsMinimumDistance = 2
	if near := c.SuggestionsFor(given); len(near) > 0 {
		return fmt.Errorf("%q is not a command; did you mean %s?", given, strings.Join(near, " or "))
	}
	return fmt.Errorf("%q is not a command; %s --help lists them", given, c.CommandPath())
}
