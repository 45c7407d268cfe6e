package main

import "github.com/spf13/cobra"

func newLastID() *cobra.Command {
	var r reach
	var q lastIDQuery
	cmd := &cobra.Command{
		Use:   "last-id CHANNEL...",
		Short: "Print the last message id of channels",
		Long: `Print the last message id of channels, one JSON object a line, in the order in
which they were named; 0 where there is no message:

  {"channel":"/chat","last_id":12}`,
		Example: `  messagebus last-id /chat --server http://127.0.0.1:7411
  messagebus last-id /chat /news --site eu --server http://127.0.0.1:7411`,
		Args: arguments(1, -1, "one channel or more"),
		RunE: func(cmd *cobra.Command, channels []string) error {
			s, err := r.open(cmd.Flags())
			if err != nil {
				return err
			}
			defer s.Close()
			q.channels = channels
			return s.lastIDs(cmd.Context(), q, &lines{w: cmd.OutOrStdout()})
		},
	}
	r.addFlags(cmd.Flags())
	addSite(cmd.Flags(), &q.site)
	return cmd
}
