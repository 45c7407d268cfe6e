package stores

func newRunner(p program) (runner, error) { return newProcess(p) }
