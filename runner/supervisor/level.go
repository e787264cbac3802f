package supervisor

// Level is how well this machine keeps the server's secrets from the processes it starts.
type Level struct {
	// NonDumpable: no process of the same user can read the server's memory and environment.
	NonDumpable bool
	// Landlock is the version of Landlock that the kernel speaks. Zero: none.
	Landlock int
	// Root: the server runs as root, whom little of this stops.
	Root bool
}

func (l Level) String() string { return "" }

// Protect makes the server's memory and environment unreadable for other processes of its user, and
// answers what can be promised.
func Protect() (Level, error) { return Level{}, errSoon }
