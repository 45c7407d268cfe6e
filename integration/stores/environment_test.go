package stores_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/integration/stores"
)

// The environment of another process cannot be seen by the tests of this one: the
// same tests are run again, with servers of ours as those that were there before.
func TestShared_UsesTheServersThatTheEnvironmentNames(t *testing.T) {
	t.Parallel()
	cache, database := stores.Redis(t), stores.Postgres(t)
	dear := cache.Client(t, func(o *redis.Options) { o.DB = 2 })
	if err := dear.Set(t.Context(), "dear", "to somebody", 0).Err(); err != nil {
		t.Fatal(err)
	}

	again := exec.Command(os.Args[0], "-test.run", "^Test(Redis|Postgres)Shared_", "-test.v")
	again.Env = append(os.Environ(),
		"MESSAGEBUS_TEST_REDIS_URL="+cache.URL(),
		"MESSAGEBUS_TEST_POSTGRES_URL="+database.URL("postgres"),
		"MESSAGEBUS_TEST_SERVERS=elsewhere", // is refused where a server is started
	)
	output, err := again.CombinedOutput()
	if err != nil || strings.Count(string(output), "--- PASS: TestRedisShared_") < 2 {
		t.Errorf("%v:\n%s", err, output)
	}
	if value := dear.Get(t.Context(), "dear").Val(); value != "to somebody" {
		t.Errorf("a database that was not empty was used: it has %q", value)
	}
	if marks := cache.Do(t, "keys", "*").([]any); len(marks) != 0 {
		t.Errorf("marks are left: %v", marks)
	}
	if left := database.Exec(t, "postgres", "select string_agg(datname, ' ') from pg_database where datname like 'messagebus%'"); left != "" {
		t.Errorf("databases are left: %s", left)
	}
}

func TestServers_RefusesAPlaceThatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	again := exec.Command(os.Args[0], "-test.run", "^TestRedis_AsksForThePassword$")
	again.Env = append(os.Environ(), "MESSAGEBUS_TEST_SERVERS=elsewhere")
	if output, err := again.CombinedOutput(); err == nil || !strings.Contains(string(output), "it takes docker and local") {
		t.Errorf("%v:\n%s", err, output)
	}
}

func TestServers_SaysWhatToDoWhereThereIsNone(t *testing.T) {
	t.Parallel()
	again := exec.Command(os.Args[0], "-test.run", "^TestRedis_AsksForThePassword$")
	again.Env = append(os.Environ(), "MESSAGEBUS_TEST_SERVERS=local", "PATH="+t.TempDir())
	if output, err := again.CombinedOutput(); err == nil || !strings.Contains(string(output), "scripts/setup.sh servers") {
		t.Errorf("%v:\n%s", err, output)
	}
}
