package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidegate/tidegate/server/backup"
	"github.com/tidegate/tidegate/server/journal"
)

const keepItSafe = `
The archive holds secrets: plans, states that are kept with --allow-local-state, logs, and the key that
comments are signed with. Keep it like the data directory itself.`

// dataDirFlag gives a command --data-dir, which means the same as for the server.
func dataDirFlag(c *cobra.Command) func() (string, error) {
	table := options()
	row := table[indexOf(table, "data-dir")]
	dir := c.Flags().String(row.name, "", "`DIR` of the server (default TIDEGATE_DATA_DIR, or "+row.def+")")
	return func() (string, error) {
		given := *dir
		if given == "" {
			given = values{flags: flagSet(table), lookup: withoutLinks(os.LookupEnv)}.get(row)
		}
		var s settings
		var bad problems
		s.readDataDir(given, &bad)
		return s.dataDir, errors.Join(bad...)
	}
}

// onFile completes a command that works with one FILE and the data directory.
func onFile(c *cobra.Command, run func(c *cobra.Command, data, file string) error) *cobra.Command {
	c.Args = oneFile
	dir := dataDirFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		data, err := dir()
		if err != nil {
			return err
		}
		return run(c, data, args[0])
	}
	return c
}

// oneFile refuses what is not one argument.
func oneFile(c *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return &usageError{fmt.Errorf("%s takes one FILE; - is the standard stream", c.Name())}
	}
	return nil
}

func backupCommand() *cobra.Command {
	return onFile(&cobra.Command{
		Use:   "backup FILE",
		Short: "Write everything that can't be made again into one archive, while the server runs",
		Long: `Writes the journal, locks, plans, results, logs and local states into one archive, while the server runs or
not. Checkouts, mirrors, providers and tools are made again and not in it. FILE may be - for standard
output. It gets its name when it is whole, with mode 0600.
` + keepItSafe,
	}, func(c *cobra.Command, data, file string) error {
		log := slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))
		write := func(to io.Writer) error { return takeBackup(c.Context(), data, to, log) }
		if file == "-" {
			if info, err := os.Stdout.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 && c.OutOrStdout() == os.Stdout {
				return &usageError{errors.New("an archive is not for a terminal: send it to a file or a program")}
			}
			return write(c.OutOrStdout())
		}
		return writeWhole(file, write)
	})
}

// takeBackup asks the server that works with the directory, or reads it itself if there is none.
func takeBackup(ctx context.Context, dir string, to io.Writer, log *slog.Logger) (err error) {
	path := filepath.Join(dir, backup.DBName)
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("there is nothing to back up: %w", err)
	}
	asked := backup.Fetch(ctx, dir, to)
	if !errors.Is(asked, backup.ErrNoServer) {
		return asked
	}
	db, err := journal.OpenFile(path, 3*time.Second)
	if err != nil {
		if held := new(journal.HeldError); errors.As(err, &held) {
			err = errors.Join(err, asked)
		}
		return fmt.Errorf("opening the journal: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	j, err := journal.Open(db)
	if err != nil {
		return fmt.Errorf("opening the journal: %w", err)
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	if err := backup.Clear(dir); err != nil {
		return err
	}
	return backup.Write(ctx, to, backup.Source{Dir: dir, Journal: j, Version: build(), Log: log})
}

// writeWhole makes a file appear complete or not at all, and makes it last.
func writeWhole(path string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".new-*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if rerr := os.Remove(f.Name()); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}()
	if err := errors.Join(write(f), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func restoreCommand() *cobra.Command {
	return onFile(&cobra.Command{
		Use:   "restore FILE",
		Short: "Make a data directory of a backup",
		Long: `Makes a data directory of an archive that "tidegate backup" wrote; FILE may be - for standard input. The
directory must be new or empty. Everything is checked before anything gets its place. Run it as the
server's user.

Nothing runs again at the next start: commands that were answered since the backup are recognised by
their answers on the pull requests. What was planned before it must be planned again.
` + keepItSafe,
	}, func(c *cobra.Command, data, file string) error {
		from := c.InOrStdin()
		if file != "-" {
			f, err := os.Open(file) //nolint:gosec // the one that was named
			if err != nil {
				return err
			}
			defer func() { _ = f.Close() }()
			from = f
		}
		return restore(c, from, data)
	})
}

func restore(c *cobra.Command, from io.Reader, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	head, err := backup.Restore(c.Context(), from, backup.Target{Dir: dir, Room: max(freeBytes(dir), 0)})
	if err != nil {
		return fmt.Errorf("restoring into %s: %w", dir, err)
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "restored the backup of %s (%s) into %s\n", head.Taken.Format(time.RFC3339), head.Version, dir)
	return err
}
