package main

import (
	"context"
	"fmt"

	"github.com/tidegate/tidegate/server"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// room is what must stay free on the disk of a directory, so that what runs has room to come to its end.
type room struct {
	dir   string
	least int64 // in bytes; a twentieth of a small disk is enough
}

// check answers why nothing new is to be begun; nil while there is room, or when that can't be told.
func (r room) check() error {
	free, all := disk(r.dir)
	if least := min(r.least, all/20); free >= 0 && free < least {
		return fmt.Errorf("the disk of the server's data directory has %d MiB left; nothing new is begun with less than %d MiB (--min-free-disk)", free>>20, least>>20)
	}
	return nil
}

// fits answers why there is no room for so many bytes more; nil when there is, or when that can't be told.
func (r room) fits(bytes int64) error {
	free, all := disk(r.dir)
	if least := min(r.least, all/20); free >= 0 && free-bytes < least {
		return fmt.Errorf("the disk of the server's data directory has %d MiB left, and %d MiB more would leave less than %d MiB (--min-free-disk)", free>>20, bytes>>20, least>>20)
	}
	return nil
}

// takesIn is the journal while there is room. What is refused is found by reconcile.
type takesIn struct {
	*journal.Journal
	room room
}

// AddEvent takes an event in, as the journal does.
func (t takesIn) AddEvent(ctx context.Context, ev vcs.Event, key string) (uint64, bool, error) {
	if err := t.room.check(); err != nil {
		return 0, false, err
	}
	return t.Journal.AddEvent(ctx, ev, key)
}

// ready answers why the server can't take work now. A server that stops takes webhooks in, but begins nothing any more.
func (t takesIn) ready(stopping context.Context) func(context.Context) error {
	return func(ctx context.Context) error {
		if stopping.Err() != nil {
			return server.Unready("the server is stopping; what runs comes to its end, and nothing new is begun")
		}
		if t.room.check() != nil {
			return server.Unready("the disk of the data directory is nearly full; nothing new is begun until there is room again")
		}
		return t.Ping(ctx)
	}
}
