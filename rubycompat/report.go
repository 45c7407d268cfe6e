package rubycompat

import (
	"fmt"
	"io"
	"os"
)

// reportVariable names the file that the tests of this module report to.
const reportVariable = "MESSAGEBUS_TEST_REPORT"

// Report has report write what the tests of this module compared, and what they did not
// run: to the standard output, and to the end of the file that MESSAGEBUS_TEST_REPORT
// names, as go test shows nothing of a package that passes.
func Report(report func(io.Writer) error) (err error) {
	name := os.Getenv(reportVariable)
	if name == "" {
		return report(os.Stdout)
	}
	file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // whoever runs the tests names it
	if err != nil {
		return fmt.Errorf("%s: %w", reportVariable, err)
	}
	defer func() {
		if closed := file.Close(); err == nil {
			err = closed
		}
	}()
	return report(io.MultiWriter(os.Stdout, file))
}
