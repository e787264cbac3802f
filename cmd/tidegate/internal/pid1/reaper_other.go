//go:build !linux

package pid1

import "errors"

// becomeReaper: orphans go elsewhere here.
func becomeReaper() error { return errors.ErrUnsupported }
