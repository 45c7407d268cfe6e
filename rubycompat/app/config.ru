# frozen_string_literal: true

require_relative "config/environment"

use Rack::Static, urls: ["/client"], root: File.join(Rails.root, "public")
use Rack::Session::Cookie, key: "_forum_session", secret: "a secret of the test application alone, which is sixty-four bytes long"
use Tenant
use MessageBus::Rack::Middleware unless Rails.application.config.middleware.deleted?(MessageBus::Rack::Middleware)
run Forum.new
