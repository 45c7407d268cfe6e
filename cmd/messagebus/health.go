package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"
)

func newHealth() *cobra.Command {
	var r reach
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a running server whether it is well",
		Long: `Ask a running server whether it is well, and print its answer.

The exit code is 1 where it is not well or does not answer: for the health check of a
container, which has no other program to ask with.`,
		Example: "  messagebus health --server http://127.0.0.1:7411",
		Args:    arguments(0, 0, "nothing"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := r.openServer(cmd.Flags())
			if err != nil {
				return err
			}
			defer s.Close()
			return s.health(cmd.Context(), &lines{w: cmd.OutOrStdout()})
		},
	}
	r.addServerFlags(cmd.Flags(), "admin listener of the server")
	return cmd
}

// mostOfHealth is what is read of an answer, in bytes.
const mostOfHealth = 64 << 10

var errUnwell = errors.New("the server is not well")

// health prints what the server says of itself, and fails where that is not good.
func (r *remote) health(ctx context.Context, out *lines) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	response, err := r.send(ctx, http.MethodGet, "health", nil, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusServiceUnavailable {
		return statusErrorOf(response)
	}
	var answer healthAnswer
	if err := json.NewDecoder(io.LimitReader(response.Body, mostOfHealth)).Decode(&answer); err != nil {
		return fmt.Errorf("the server's answer cannot be read: %w", err)
	}
	if err := out.write(answer); err != nil {
		return err
	}
	if !answer.OK {
		return errUnwell
	}
	return nil
}
