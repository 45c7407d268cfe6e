package main

import "github.com/spf13/cobra"

func newSubscribe() *cobra.Command {
	var r reach
	var f far
	q := subscribeQuery{from: fromLatest}
	cmd := &cobra.Command{
		Use:   "subscribe CHANNEL...",
		Short: "Print the messages of channels as they come",
		Long: `Print the messages of channels as they come, one JSON object a line:

  {"channel":"/chat","id":3,"global_id":8,"data":"hello","user_ids":[7]}

Where messages may be lost for good, a line tells between which ids, and why:

  {"gap":{"channel":"/chat","after":3,"next":9,"reason":"trimmed"}}

It goes on until it is interrupted. With --url it is one of the clients of a Go or a Ruby
server, and knows no targets; with --positions a later run goes on where this one ends.`,
		Example: `  messagebus subscribe /chat --server http://127.0.0.1:7411
  messagebus subscribe /chat /news --from last:10 --server http://127.0.0.1:7411
  messagebus subscribe /chat --from 0 --server http://127.0.0.1:7411 | jq .data
  messagebus subscribe /chat --from 0 --url https://example.com/ --positions chat.json`,
		Args: arguments(1, -1, "one channel or more"),
		RunE: func(cmd *cobra.Command, channels []string) error {
			q.channels = channels
			if isFar, err := f.check(cmd.Flags()); err != nil || isFar {
				if err == nil {
					err = f.subscribe(cmd.Context(), q, &lines{w: cmd.OutOrStdout()}, cmd.ErrOrStderr())
				}
				return err
			}
			s, err := r.open(cmd.Flags())
			if err != nil {
				return err
			}
			defer s.Close()
			return s.subscribe(cmd.Context(), q, &lines{w: cmd.OutOrStdout()})
		},
	}
	r.addFlags(cmd.Flags())
	f.addFlags(cmd.Flags())
	addFlag(cmd.Flags(), &q.from, "from", "START",
		"latest: new messages; N: those after the message id N; last:K: the newest K, then new ones", parseStart)
	addSite(cmd.Flags(), &q.site)
	return cmd
}
