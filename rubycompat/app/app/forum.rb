# frozen_string_literal: true

# The site of the request that is served.
module Current
  def self.site
    Thread.current[:forum_site]
  end

  def self.site=(name)
    Thread.current[:forum_site] = name
  end
end

# Has the first label of the host as the site: one.example.com is the site "one".
class Tenant
  def initialize(app)
    @app = app
  end

  def call(env)
    Current.site = Rack::Request.new(env).host[/\A[^.]+/]
    @app.call(env)
  end
end

User = Struct.new(:id, :name, :group_ids) do
  def self.find_by(id: nil, name: nil)
    USERS.find { |user| user.id == id || user.name == name }
  end
end
USERS = [User.new(7, "ann", [1, "staff"]), User.new(8, "bob", [1])].freeze

# A page with live messages for those who have signed in: for the user, its groups and its site.
class Forum
  PAGE = File.read(File.join(__dir__, "page.html"))
  ASSETS = File.expand_path("../assets", File.dirname($LOADED_FEATURES.find { |file| file.end_with?("/lib/message_bus.rb") }))

  def call(env)
    request = Rack::Request.new(env)
    route = Rails.application.routes.find(request.path_info)
    return route.call(env) if route

    case [request.request_method, request.path_info]
    when %w[GET /] then page(request)
    when %w[POST /session] then sign_in(request)
    when %w[POST /publish] then publish(request)
    when %w[GET /title] then text(defined?(SETTINGS) ? SETTINGS["title"] : "")
    when %w[GET /assets/message-bus.js], %w[GET /assets/message-bus-ajax.js] then asset(request.path_info)
    else [404, { "content-type" => "text/plain" }, ["not found"]]
    end
  end

  private

  # The page loads the gem's client, or with ?client=ours that of this project.
  def page(request)
    user = User.find_by(id: request.session["user_id"])
    html = PAGE.gsub("{{user}}", user ? user.name : "").gsub("{{site}}", Rack::Utils.escape_html(Current.site))
    [200, { "content-type" => "text/html; charset=utf-8" }, [html]]
  end

  def sign_in(request)
    user = User.find_by(name: request.params["name"])
    return [403, { "content-type" => "text/plain" }, ["unknown"]] unless user

    request.session["user_id"] = user.id
    [303, { "location" => "/" }, []]
  end

  # Publishes on the site of the request.
  def publish(request)
    message = JSON.parse(request.body.read)
    id = MessageBus.publish(message["channel"], message["data"], user_ids: message["user_ids"], group_ids: message["group_ids"])
    text(id.to_s)
  end

  def asset(path)
    [200, { "content-type" => "text/javascript" }, [File.read(File.join(ASSETS, File.basename(path)))]]
  end

  def text(text)
    [200, { "content-type" => "text/plain; charset=utf-8" }, [text.to_s]]
  end
end
