# frozen_string_literal: true

# As a new Rails application has it.
threads 5, 5
bind "tcp://#{ENV.fetch("BIND", "127.0.0.1:3000")}"
environment "production"
plugin :tmp_restart
