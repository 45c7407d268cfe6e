// Command messagebus is the message bus as a program: an HTTP push server, a
// chat to try it with, and commands that publish and read from a shell.
//
// "messagebus --help" lists the commands; README.md shows them at work.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/spf13/cobra"
)

func main() {
	// A closed pipe is an error of the write, not the end of a server whose
	// log nobody reads.
	signal.Ignore(syscall.SIGPIPE)
	// The client of Redis logs what it also returns, beside the log's own format.
	redis.SetLogger(&logging.VoidLogger{})
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal ends the program cleanly, the second one at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.LookupEnv, os.Stdin, os.Stdout, os.Stderr))
}

// lookup returns a variable of the environment, as os.LookupEnv does.
type lookup func(name string) (value string, found bool)

// run runs one command line and returns its exit code. It ends when ctx does.
func run(ctx context.Context, args []string, env lookup, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot(env, stdin, stdout, stderr)
	root.SetArgs(append([]string{}, args...)) // nil would mean os.Args
	return report(stderr, root.ExecuteContext(ctx))
}

const rootHelp = `A message bus and HTTP push server, compatible with the Ruby gem message_bus.

Every flag can be given in the environment as well: --max-held as
MESSAGEBUS_MAX_HELD. A flag wins over the environment, and an empty variable is
as good as none. A flag that may be repeated takes one value a line there.

Exit codes: 0 done, 1 failed, 2 wrong usage.`

func newRoot(env lookup, stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:           "messagebus",
		Short:         "A message bus and HTTP push server",
		Long:          rootHelp,
		Example:       "  messagebus demo\n  messagebus serve --listen 127.0.0.1:7410 --admin-listen 127.0.0.1:7411",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE:          unknownCommand,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return applySettings(cmd.Flags(), env)
		},
	}
	root.SetIn(stdin)
	root.SetOut(stdout) // before the completion command is made, which keeps it
	root.SetErr(stderr)
	root.AddCommand(newDemo(), newServe(env), newConfig(), newPublish(), newSubscribe(), newBacklog(), newLastID(), newCache(), newReset(), newBench(), newHealth(), newDoctor(env), newMan(root), newVersion())
	root.SetHelpCommand(newHelp(root))
	root.InitDefaultCompletionCmd("completion")
	mendCompletion(root)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return asUsage(err) })
	markUsage(root)
	return root
}

// unknownCommand runs where no command was named that exists.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	return usagef("there is no command %q; there are: %s", args[0], commandNames(cmd))
}

func newHelp(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Show what a command does",
		Example: "  messagebus help serve",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return usagef("there is no command %q; there are: %s", rest[0], commandNames(root))
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	}
}
