package stores

import (
	"context"
	"fmt"
	"time"
)

// poll asks until there is no error, for as long as a server may take.
func poll(ask func(context.Context) error) error {
	return pollUntil(nil, ask)
}

// pollUntil gives up as well when the channel is closed.
func pollUntil(ended <-chan struct{}, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	for {
		err := ask(ctx)
		select {
		case <-ended:
			return errEnded
		default:
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %v: %w", patience, err)
		case <-ended:
		case <-retry.C:
		}
	}
}
