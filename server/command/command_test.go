package command

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var ours = Words{Executable: "tidegate", Mention: "TideBot"} //nolint:gochecknoglobals // read by every test

func TestParseCommands(t *testing.T) {
	t.Parallel()
	plan, apply := NamePlan, NameApply
	for in, want := range map[string]Command{
		"plan":                                  {Name: plan},
		"apply":                                 {Name: apply},
		"unlock":                                {Name: NameUnlock},
		"help":                                  {Name: NameHelp},
		"cancel":                                {Name: NameCancel},
		"tidegate cancel -d dns -w prod":        {Name: NameCancel, Dir: "dns", Workspace: "prod"},
		"/cancel -p net":                        {Name: NameCancel, Project: "net"},
		"force-unlock -d dns":                   {Name: NameForceUnlock, Dir: "dns"},
		"tidegate Force-Unlock -p net":          {Name: NameForceUnlock, Project: "net"},
		"/force-unlock -w prod":                 {Name: NameForceUnlock, Workspace: "prod"},
		"state push -d dns":                     {Name: NameStatePush, Dir: "dns"},
		"State  Push -p net":                    {Name: NameStatePush, Project: "net"},
		"/state push -d dns":                    {Name: NameStatePush, Dir: "dns"},
		"@tidebot state push -d dns -w prod":    {Name: NameStatePush, Dir: "dns", Workspace: "prod"},
		"`tidegate state push -p=net`":          {Name: NameStatePush, Project: "net"},
		"PLAN":                                  {Name: plan},
		"Plan":                                  {Name: plan},
		" plan ":                                {Name: plan},
		"   plan":                               {Name: plan},
		"\n\n plan \n\n":                        {Name: plan},
		"\r\nplan\r\n":                          {Name: plan},
		"plan\r":                                {Name: plan},
		"plan\t":                                {Name: plan},
		"plan\n\u200b\n\u00a0\n":                {Name: plan},
		"\ufeffplan":                            {Name: plan},
		"plan\u200b":                            {Name: plan},
		"pl\u00adan":                            {Name: plan},
		"\u00a0plan\u00a0-d\u00a0dns":           {Name: plan, Dir: "dns"},
		"plan\u3000-d\u2003dns":                 {Name: plan, Dir: "dns"},
		"`plan`":                                {Name: plan},
		"` plan `":                              {Name: plan},
		"\n`apply -d dns`\n":                    {Name: apply, Dir: "dns"},
		"`tidegate plan`":                       {Name: plan},
		"plan -d dns":                           {Name: plan, Dir: "dns"},
		`plan -d "“dns”"`:                       {Name: plan, Dir: "“dns”"},
		"plan -d=dns":                           {Name: plan, Dir: "dns"},
		"plan --dir dns":                        {Name: plan, Dir: "dns"},
		"plan --dir=dns":                        {Name: plan, Dir: "dns"},
		"plan -d dir -w ws":                     {Name: plan, Dir: "dir", Workspace: "ws"},
		"plan -w ws -d dir":                     {Name: plan, Dir: "dir", Workspace: "ws"},
		"plan --workspace=ws":                   {Name: plan, Workspace: "ws"},
		"plan --workspace ws --dir d":           {Name: plan, Dir: "d", Workspace: "ws"},
		"apply --auto-merge-disabled":           {Name: apply, NoMerge: true},
		"apply -d x --auto-merge-method Squash": {Name: apply, Dir: "x", MergeMethod: "squash"},
		"tidegate apply --auto-merge-method=rebase -p a": {Name: apply, Project: "a", MergeMethod: "rebase"},
		"apply -p name":                        {Name: apply, Project: "name"},
		"apply --project=team/name":            {Name: apply, Project: "team/name"},
		`plan -d "dir with space"`:             {Name: plan, Dir: "dir with space"},
		`plan -d 'dir with space'`:             {Name: plan, Dir: "dir with space"},
		`plan -d dir\ with\ space`:             {Name: plan, Dir: "dir with space"},
		`plan -d="dir with space" -w x`:        {Name: plan, Dir: "dir with space", Workspace: "x"},
		`plan -d "a\"b"`:                       {Name: plan, Dir: `a"b`},
		"plan -d \"a\u00a0b\"":                 {Name: plan, Dir: "a\u00a0b"},
		"plan -d a`b":                          {Name: plan, Dir: "a`b"},
		"plan -d a#b":                          {Name: plan, Dir: "a#b"},
		"plan -d /dns":                         {Name: plan, Dir: "dns"},
		"plan -d //dns/":                       {Name: plan, Dir: "dns"},
		"plan -d ./dns":                        {Name: plan, Dir: "dns"},
		"plan -d dns/":                         {Name: plan, Dir: "dns"},
		"plan -d a/../b":                       {Name: plan, Dir: "b"},
		"plan -d /":                            {Name: plan, Dir: "."},
		"plan -d .":                            {Name: plan, Dir: "."},
		"plan -d ./":                           {Name: plan, Dir: "."},
		"plan -d ..dns":                        {Name: plan, Dir: "..dns"},
		"plan -d=-x":                           {Name: plan, Dir: "-x"},
		`plan -d "-x"`:                         {Name: plan, Dir: "-x"},
		"plan -d ümläut/日本":                    {Name: plan, Dir: "ümläut/日本"},
		"plan -w ümläut":                       {Name: plan, Workspace: "ümläut"},
		"tidegate plan":                        {Name: plan},
		"TideGate PLAN":                        {Name: plan},
		"tidegate":                             {Name: NameHelp},
		"tidegate help":                        {Name: NameHelp},
		"tidegate help plan":                   {Name: NameHelp},
		"tidegate --help":                      {Name: NameHelp},
		"tidegate -h":                          {Name: NameHelp},
		"plan --help":                          {Name: NameHelp},
		"tidegate plan -h":                     {Name: NameHelp},
		"@tidebot plan":                        {Name: plan},
		"@TideBot plan -d x":                   {Name: plan, Dir: "x"},
		"@TIDEBOT":                             {Name: NameHelp},
		"/plan":                                {Name: plan},
		"/Apply -d dns":                        {Name: apply, Dir: "dns"},
		"/tidegate plan":                       {Name: plan},
		"/tidegate":                            {Name: NameHelp},
		"`/plan`":                              {Name: plan},
		"plan -d " + strings.Repeat("a", 8000): {Name: plan, Dir: strings.Repeat("a", 8000)},
	} {
		got, err := Parse(in, ours)
		if err != nil || got == nil {
			t.Errorf("Parse(%q) = %v, %v, want %+v", in, got, err, want)
			continue
		}
		if diff := cmp.Diff(want, *got, cmpopts.IgnoreFields(Command{}, "Line")); diff != "" {
			t.Errorf("Parse(%q) (-want +got):\n%s", in, diff)
		}
	}
}

func TestParseTalk(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"", " ", "\n", "\u200b", "`", "``", "` `",
		"plan looks good", "Plan looks good to me!", "plan.", "plan!", "plan?", "planning", "plans", "apply this please",
		"apply #12", "plan # later", "plan - looks good", "plan — looks good", "plan – d x", "plan -- looks good", "plan — -target=x",
		"plan —nice work", "plan —nice", "plan -x does not work", "plan -x doesn't work", "plan -d dir with space",
		"plan doesn't work", "plan apply", "plan, apply", "plna", "aply", "version", "cancel it", "import a b",
		"please plan", "- plan", "* plan", "1. plan", "# plan", "**plan**", "_plan_", "~~plan~~", "[plan](x)", `"plan"`, "'plan'", `\plan`, `pl"an"`,
		"> plan", ">plan", "> apply\n\nplan", "plan\n\n> apply", "```\nplan\n```", "~~~\napply\n~~~", "```plan```", "``plan``", "`plan", "plan`", "`plan` `apply`", "`plan`.", "`plan -d a`b`",
		"    plan", "\tplan", " \tplan", "  \tapply -d x", "    tidegate apply",
		"<!-- plan -->", "<!--\nplan\n-->", "<!-- x -->\nplan", "plan\n<!-- x -->", "<b>plan</b>", "&#112;lan",
		"plan\nthanks!", "thanks!\nplan", "tidegate plan\nthanks", "plan\n\nplan looks good", "tidegate plna\n\nthanks", "Here we go:\nplan",
		"terraform plan", "tofu plan", "atlantis plan", "atlantis apply -d x", "atlantic", "run plan", "@someone plan", "@ plan", "@tidebot, plan", "tidegate: plan",
		"/hold", "/lock", "/lgtm", "/approve", "/help-wanted", "/ plan", "//plan", "/", "/hlep me", "/version", "/atlantis plan",
		"plan\x00", "\x00plan", "pl\x00an", "plan\x1b[0m", "plan\u202e", "\u202eplan", "unloc\u212a", "pl\u0430n", "ｐｌａｎ", "plan\xff", "\xff",
		"plan -d " + strings.Repeat("a", 8<<10), strings.Repeat("\n", 8<<10) + "plan", strings.Repeat("plan ", 1000),
	} {
		if got, err := Parse(in, ours); got != nil || err != nil {
			t.Errorf("Parse(%.80q) = %+v, %v, want talk", in, got, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]struct{ headline, suggestion string }{
		"plan -x":                          {`"-x" is not a flag of plan`, ""},
		"plan -D dns":                      {`"-D" is not a flag of plan`, ""},
		"plan --dri dns":                   {`"--dri" is not a flag of plan`, ""},
		"plan -ddns":                       {`"-ddns" is not a flag of plan`, ""},
		"plan -d":                          {"-d needs a value", ""},
		"plan -d -w x":                     {"-d needs a value", ""},
		"plan -d a -d b":                   {"-d is given twice", ""},
		"plan --dir a -d b":                {"-d is given twice", ""},
		"plan -d ../..":                    {`-d "../.." leaves the repository`, ""},
		"plan -d /..":                      {`-d "/.." leaves the repository`, ""},
		"plan -d a/../../b":                {`-d "a/../../b" leaves the repository`, ""},
		"plan -d envs/*":                   {`-d "envs/*" is a pattern`, ""},
		"plan -d env[12]":                  {`-d "env[12]" is a pattern`, ""},
		"plan -d env?":                     {`-d "env?" is a pattern`, ""},
		`plan -d ""`:                       {`-d "" is empty`, ""},
		"plan -d=":                         {`-d "" is empty`, ""},
		"plan -d a\x00b":                   {"-d \"a\ufffdb\" has control characters", ""},
		"plan -d a\u202eb":                 {"-d \"a\ufffdb\" has control characters", ""},
		"plan -w a/b":                      {`-w "a/b" is not a workspace name`, ""},
		`plan -w 'a\b'`:                    {`-w "a\b" is not a workspace name`, ""},
		"plan -w ..":                       {`-w ".." is not a workspace name`, ""},
		"plan -w a..b":                     {`-w "a..b" is not a workspace name`, ""},
		"plan -w .":                        {`-w "." is not a workspace name`, ""},
		"plan -w=-x":                       {`-w "-x" is not a workspace name`, ""},
		"plan -w ~x":                       {`-w "~x" is not a workspace name`, ""},
		"plan -w $x":                       {`-w "$x" is not a workspace name`, ""},
		`plan -w "a b"`:                    {`-w "a b" has spaces`, ""},
		"plan -w \"a\u00a0b\"":             {"-w \"a\u00a0b\" has spaces", ""},
		`plan -w ""`:                       {`-w "" is empty`, ""},
		`plan -p ""`:                       {`-p "" is empty`, ""},
		"plan -p a -d b":                   {"-p stands alone", "plan -p a"},
		"apply -w b -p a":                  {"-p stands alone", "apply -p a"},
		"plan —d dns":                      {`The dash before "d" is no hyphen`, "plan -d dns"},
		"plan –d dns -w x":                 {`The dash before "d" is no hyphen`, "plan -d dns -w x"},
		"plan —dir=dns":                    {`The dash before "dir" is no hyphen`, "plan -d dns"},
		"plan —-dir dns":                   {`The dash before "dir" is no hyphen`, "plan -d dns"},
		"plan \u2212w x":                   {`The dash before "w" is no hyphen`, "plan -w x"},
		"plan \u2011p x":                   {`The dash before "p" is no hyphen`, "plan -p x"},
		"tidegate plan —d dns":             {`The dash before "d" is no hyphen`, "plan -d dns"},
		"plan —help":                       {`The dash before "help" is no hyphen`, ""},
		"plan -- -target=x":                {"Arguments after -- are not supported yet", ""},
		"plan -d x -- -target x":           {"Arguments after -- are not supported yet", ""},
		"tidegate plan -- anything at all": {"Arguments after -- are not supported yet", ""},
		"plan --verbose":                   {"--verbose is not supported yet", ""},
		"plan --auto-merge-disabled":       {`"--auto-merge-disabled" is not a flag of plan`, ""},
		"plan --auto-merge-method squash":  {`"--auto-merge-method" is not a flag of plan`, ""},
		"apply --auto-merge-method":        {"--auto-merge-method needs a value", ""},
		"apply --auto-merge-method ff":     {`--auto-merge-method "ff" is none`, ""},
		"apply --auto-merge-disabled=no":   {"--auto-merge-disabled takes no value", ""},
		"apply --auto-merge-disable":       {`"--auto-merge-disable" is not a flag of apply`, ""},
		"apply -d x --auto-merge-disabled --auto-merge-method squash": {"--auto-merge-disabled and --auto-merge-method do not go together", "apply -d x --auto-merge-disabled"},
		`plan -d "a b`:                        {"A quote is not closed", ""},
		`plan -d 'a b`:                        {"A quote is not closed", ""},
		"plan -d “dns”":                       {`The quotes around "dns" are no straight ones`, "plan -d dns"},
		"plan -p=‘a’":                         {`The quotes around "a" are no straight ones`, "plan -p a"},
		"plan -d „..“":                        {`The quotes around ".." are no straight ones`, ""},
		`plan -d="a b`:                        {"A quote is not closed", ""},
		`tidegate plan "`:                     {"A quote is not closed", ""},
		`tidegate plan -d a\`:                 {"The line ends in a backslash", ""},
		"unlock -d dns":                       {`unlock does not take "-d"`, "unlock"},
		"force-unlock":                        {"force-unlock is for one project", ""},
		"tidegate state push":                 {"state push is for one project", ""},
		"state push -x":                       {`"-x" is not a flag of state push`, ""},
		"help -d dns":                         {`help does not take "-d"`, "help"},
		"tidegate unlock dns":                 {`unlock does not take "dns"`, "unlock"},
		"tidegate plna":                       {`"plna" is not a command`, "plan"},
		"tidegate plna -d dns":                {`"plna" is not a command`, "plan -d dns"},
		"tidegate plna -x":                    {`"plna" is not a command`, "plan"},
		"tidegate APPLLY":                     {`"APPLLY" is not a command`, "apply"},
		"tidegate plan.":                      {`"plan." is not a command`, "plan"},
		"tidegate is great":                   {`"is" is not a command`, ""},
		"tidegate plan dns":                   {`plan does not take "dns"`, "plan -d dns"},
		"tidegate plan apply":                 {`plan does not take "apply"`, ""},
		"tidegate plan <!-- x -->":            {`plan does not take "<!--"`, ""},
		"tidegate -d dns plan":                {`"-d" is not a command`, ""},
		"tidegate version":                    {`"version" is not supported yet`, ""},
		"tidegate cancel dns":                 {`cancel does not take "dns"`, "cancel -d dns"},
		"tidegate import a b":                 {`"import" is not supported yet`, ""},
		"tidegate state rm x":                 {`"state" is not supported yet`, ""},
		"@tidebot approve_policies":           {`"approve_policies" is not supported yet`, ""},
		"@tidebot deploy":                     {`"deploy" is not a command`, ""},
		"tidegate pl\u202ean":                 {"\"pl\ufffdan\" is not a command", "plan"},
		"tidegate plan\x00":                   {"\"plan\ufffd\" is not a command", "plan"},
		"tidegate " + strings.Repeat("x", 99): {`"` + strings.Repeat("x", 60) + `..." is not a command`, ""},
		"/plan looks good":                    {`plan does not take "looks"`, "plan -d looks"},
		"/plna":                               {`"plna" is not a command`, "plan"},
		"/unlok":                              {`"unlok" is not a command`, "unlock"},
		"/tidegate plna":                      {`"plna" is not a command`, "plan"},
		"plan\nplan":                          {"One command for each comment", ""},
		"plan\n\napply":                       {"plan and apply do not go together in one comment", ""},
		"plan\r\napply":                       {"plan and apply do not go together in one comment", ""},
		"plan\rapply":                         {"plan and apply do not go together in one comment", ""},
		"plan\u2028apply":                     {"plan and apply do not go together in one comment", ""},
		"plan\x0bapply":                       {"plan and apply do not go together in one comment", ""},
		"`plan`\n`apply -d x`":                {"plan and apply do not go together in one comment", ""},
		"tidegate plan\nunlock":               {"One command for each comment", ""},
		"plan -d a\nplan -x":                  {"One command for each comment", ""},
	} {
		got, err := Parse(in, ours)
		var wrong *Error
		if !errors.As(err, &wrong) || got != nil {
			t.Errorf("Parse(%q) = %+v, %v, want an error", in, got, err)
			continue
		}
		if wrong.Headline != want.headline || wrong.Suggestion != want.suggestion {
			t.Errorf("Parse(%q) = %q, suggestion %q, want %q, %q", in, wrong.Headline, wrong.Suggestion, want.headline, want.suggestion)
		}
		check(t, in, wrong)
	}
}

// check holds what is true of every error.
func check(t *testing.T, in string, e *Error) {
	t.Helper()
	for _, s := range []string{e.Headline, e.Detail, e.Usage, e.Suggestion, e.Error()} {
		if strings.ContainsAny(s, "\x00\x1b\n\r\u2028\u2029\u202e") || len(s) > 9000 {
			t.Errorf("Parse(%q): %q has control characters or no end", in, s)
		}
	}
	if e.Headline == "" || e.Detail == "" || strings.HasSuffix(e.Headline, ".") || !strings.HasSuffix(e.Detail, ".") {
		t.Errorf("Parse(%q) = %q, %q, want a headline and what to do", in, e.Headline, e.Detail)
	}
	if e.Suggestion == "" {
		return
	}
	if got, err := Parse(e.Suggestion, Words{NoSlash: true}); err != nil || got == nil {
		t.Errorf("Parse(%q) suggests %q, which is %v, %v", in, e.Suggestion, got, err)
	}
}

func TestParseWords(t *testing.T) {
	t.Parallel()
	const talk, asked, wrong = "talk", "command", "error"
	for _, c := range []struct {
		words Words
		in    string
		want  string
	}{
		{Words{}, "tidegate plan", asked},
		{Words{}, "@ plan", talk},
		{Words{}, "@", talk},
		{Words{Executable: "atlantis"}, "atlantis plan", asked},
		{Words{Executable: "Atlantis"}, "atlantis plan", asked},
		{Words{Executable: "atlantis"}, "atlantis plna", wrong},
		{Words{Executable: "atlantis"}, "/atlantis plan", asked},
		{Words{Executable: "atlantis"}, "tidegate plan", talk},
		{Words{Executable: "atlantis"}, "plan", asked},
		{Words{NoSlash: true}, "/plan", talk},
		{Words{NoSlash: true}, "/plan -x", talk},
		{Words{NoSlash: true}, "/tidegate plan", talk},
		{Words{NoSlash: true}, "tidegate plan", asked},
		{Words{NoSlash: true}, "plan", asked},
	} {
		got, err := Parse(c.in, c.words)
		is := talk
		switch {
		case err != nil:
			is = wrong
		case got != nil:
			is = asked
		}
		if is != c.want {
			t.Errorf("Parse(%q, %+v) = %v, %v, want %s", c.in, c.words, got, err, c.want)
		}
	}
}

func TestParseKeepsTheLine(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"\r\n `Plan  -d dns`\r\n": "Plan  -d dns",
		"  tidegate apply ":       "tidegate apply",
	} {
		got, err := Parse(in, ours)
		if err != nil || got == nil || got.Line != want {
			t.Errorf("Parse(%q) = %+v, %v, want line %q", in, got, err, want)
		}
	}
}

func TestTargeted(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]bool{"plan": false, "plan -d .": true, "plan -w x": true, "plan -p x": true} {
		if got, err := Parse(in, ours); err != nil || got.Targeted() != want {
			t.Errorf("Parse(%q).Targeted() = %v, want %v", in, got, want)
		}
	}
}

func TestHelpIsTrue(t *testing.T) {
	t.Parallel()
	for _, row := range Help() {
		first, _, _ := strings.Cut(row.Command, ",")
		if got, err := Parse(first, ours); err != nil || got == nil {
			t.Errorf("the help has %q, which is %v, %v", row.Command, got, err)
		}
	}
	for _, n := range []Name{NamePlan, NameApply, NameUnlock, NameForceUnlock, NameStatePush, NameHelp} {
		if !strings.Contains(Usage(n), string(n)) {
			t.Errorf("Usage(%q) = %q", n, Usage(n))
		}
	}
}
