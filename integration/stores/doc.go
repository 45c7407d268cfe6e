// Package stores starts Redis and Postgres servers for tests, and breaks them when
// a test says so.
//
// [Redis] and [Postgres] start a server that belongs to one test and ends with it.
// It keeps its port when it is stopped and started again, and can be killed and
// paused. [RedisShared] and [PostgresShared] give out empty databases on one server
// for the whole test binary, for tests that leave their server alone; [Close], called
// by TestMain, ends it.
//
// A server comes from the first of these that there is:
//
//   - MESSAGEBUS_TEST_REDIS_URL or MESSAGEBUS_TEST_POSTGRES_URL, a server that is
//     there already (only for the shared databases);
//   - Docker, through testcontainers;
//   - a program that is installed on this machine.
//
// MESSAGEBUS_TEST_SERVERS=docker or =local says which of the latter two it must be.
// If there is none, the test fails and says what to install.
//
// Methods that break a server may be called from any goroutine while the test runs;
// one that cannot do its work fails the test and returns. Constructors and helpers that take a
// testing.TB must be called from that test's goroutine.
package stores
