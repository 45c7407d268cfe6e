package stores

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// versionVariable names the version of servers for which the test names none.
const versionVariable = "MESSAGEBUS_TEST_POSTGRES_VERSION"

// PostgresVersions returns the versions that this machine has, oldest first: those
// that the system has installed, and those that scripts/postgres.sh has fetched.
func PostgresVersions() []string {
	folders := append(installedPostgres(), fetchedPostgres()...)
	versions := make([]string, 0, len(folders))
	for _, folder := range folders {
		versions = append(versions, versionIn(folder))
	}
	slices.SortFunc(versions, compareVersions)
	return slices.Compact(versions)
}

// installedPostgres are the folders of programs where Debian keeps them.
func installedPostgres() []string {
	return programs("/usr/lib/postgresql/*/bin/postgres")
}

func fetchedPostgres() []string {
	return programs(filepath.Join(checkout(), ".tools", "postgres-*", "bin", "postgres"))
}

// checkout is the top folder of this repository; a test runs in one below it.
func checkout() string {
	folder, _ := os.Getwd() // without it, nothing is found
	for {
		if _, err := os.Stat(filepath.Join(folder, "modules.txt")); err == nil || folder == filepath.Dir(folder) {
			return folder
		}
		folder = filepath.Dir(folder)
	}
}

func programs(pattern string) []string {
	found, _ := filepath.Glob(pattern) // an error is one of the pattern
	for i, program := range found {
		found[i] = filepath.Dir(program)
	}
	return found
}

// versionIn is the number in a name like /usr/lib/postgresql/15/bin.
func versionIn(folder string) string {
	return strings.TrimPrefix(filepath.Base(filepath.Dir(folder)), "postgres-")
}

func compareVersions(a, b string) int {
	left, _ := strconv.Atoi(a)
	right, _ := strconv.Atoi(b)
	return cmp.Compare(left, right)
}

// postgresFolder is where the programs of a version are; without one, those of the
// newest that is installed. It is empty where there are none or PATH has them.
func postgresFolder(version string) string {
	version = cmp.Or(version, os.Getenv(versionVariable))
	installed := installedPostgres()
	if version == "" {
		if _, err := exec.LookPath("postgres"); err == nil || len(installed) == 0 {
			return ""
		}
		return slices.MaxFunc(installed, func(a, b string) int { return compareVersions(versionIn(a), versionIn(b)) })
	}
	for _, folder := range append(installed, fetchedPostgres()...) {
		if versionIn(folder) == version {
			return folder
		}
	}
	return filepath.Join("/nowhere/postgresql", version, "bin") // and the error names it
}

func postgresImage() string {
	version := cmp.Or(os.Getenv(versionVariable), "15")
	return image("MESSAGEBUS_TEST_POSTGRES_IMAGE", "postgres:"+version+"-alpine")
}
