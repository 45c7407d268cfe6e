package main

import "github.com/spf13/cobra"

func newBacklog() *cobra.Command {
	var r reach
	var q backlogQuery
	cmd := &cobra.Command{
		Use:   "backlog CHANNEL",
		Short: "Print the stored messages of a channel",
		Long:  "Print the stored messages of a channel, the oldest first, one JSON object a line.",
		Example: `  messagebus backlog /chat --server http://127.0.0.1:7411
  messagebus backlog /chat --last 10 --server http://127.0.0.1:7411
  messagebus backlog /chat --after 41 --site eu --server http://127.0.0.1:7411`,
		Args: arguments(1, 1, "one channel"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if q.last != nil && cmd.Flags().Changed("after") {
				return usagef("--after and --last exclude each other")
			}
			s, err := r.open(cmd.Flags())
			if err != nil {
				return err
			}
			defer s.Close()
			q.channel = args[0]
			return s.backlog(cmd.Context(), q, &lines{w: cmd.OutOrStdout()})
		},
	}
	r.addFlags(cmd.Flags())
	addFlag(cmd.Flags(), &q.after, "after", "N", "those after the message id N", parseID)
	addFlag(cmd.Flags(), &q.last, "last", "N", "the newest N", optional(count(0)))
	addSite(cmd.Flags(), &q.site)
	return cmd
}
