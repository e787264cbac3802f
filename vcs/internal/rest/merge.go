package rest

import "github.com/tidegate/tidegate/vcs"

// IsClosed is why a closed pull request is not merged.
const IsClosed = "it is closed"

// HasMoved is why a pull request is not merged as it was read.
func HasMoved(read vcs.Pull) string {
	return "its head is not " + read.Head.SHA[:min(7, len(read.Head.SHA))] + " any more"
}

// StandsStill is nil as long as a pull request is what was read of it, or is merged as that.
func StandsStill(now, read vcs.Pull) *vcs.NotMergedError {
	switch {
	case now.State == vcs.Closed:
		return &vcs.NotMergedError{Reason: IsClosed}
	case now.Head.SHA != read.Head.SHA:
		return &vcs.NotMergedError{Reason: HasMoved(read), Moved: true}
	}
	return nil
}
