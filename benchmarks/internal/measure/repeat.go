package measure

import "context"

// A Run measures once, and returns one pair for each figure.
type Run func(ctx context.Context) ([]Pair, error)

// Repeat sums up so many runs. Where there is more than one, another one goes before
// them, which does not count.
func Repeat(ctx context.Context, group string, figures []Figure, runs int, run Run) ([]Result, error) {
	if runs > 1 {
		if _, err := run(ctx); err != nil {
			return nil, err
		}
	}
	pairs := make([][]Pair, len(figures))
	for range runs {
		measured, err := run(ctx)
		if err != nil {
			return nil, err
		}
		for f, p := range measured {
			pairs[f] = append(pairs[f], p)
		}
	}
	results := make([]Result, len(figures))
	for f, figure := range figures {
		results[f] = figure.Result(group, pairs[f])
	}
	return results, nil
}
