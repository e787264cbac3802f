package supervisor

// EnvDir names the step directory in the environment of stage one. A program with it in its
// environment has to call Main before anything else.
const EnvDir = "TIDEGATE_SUPERVISE"

// envStage tells stages two and three apart.
const envStage = "TIDEGATE_SUPERVISE_STAGE"

// Main carries out one stage. args are those of the process, the program's name included. It answers
// the exit code.
func Main(args []string) int { return 1 }
