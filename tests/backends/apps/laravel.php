<?php
// Laravel's router and request, on the built-in server of PHP. $request->input() merges the query and the body.
require '/usr/share/php/Illuminate/autoload.php';
require __DIR__ . '/php/read.php';

use Illuminate\Container\Container;
use Illuminate\Events\Dispatcher;
use Illuminate\Http\Request;
use Illuminate\Routing\Router;

Request::enableHttpMethodParameterOverride();
$request = Request::capture();
$request->setTrustedProxies(['127.0.0.1'], Request::HEADER_X_FORWARDED_HOST | Request::HEADER_X_FORWARDED_PORT | Request::HEADER_X_FORWARDED_PROTO);
$container = new Container();
$container->instance('request', $request);
$router = new Router(new Dispatcher($container), $container);
$serve = function ($endpoint) use ($request) {
    return function ($site = null) use ($endpoint, $request) {
        $reads = [
            ['query', 'query', flat($request->query('site'))],
            ['merged', 'input', flat($request->input('site'))],
            ['host', 'getHost', flat($request->getHost())],
        ];
        $_SERVER['REQUEST_METHOD'] = $request->method();
        ob_start();
        answer($endpoint, $endpoint === 'site' ? $request->route('site') : null, $reads);
        return ob_get_clean();
    };
};
$methods = ['GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'PATCH', 'DELETE', 'PROPFIND', 'QUERY', 'LIST', 'COPY', 'REPORT', 'PURGE'];
$known = ['api/sites' => 'list', 'api/reports/everything' => 'everything', 'api/query' => 'query', 'api/lookup' => 'lookup'];
foreach ($known as $path => $endpoint) $router->addRoute($methods, $path, $serve($endpoint));
$router->addRoute($methods, 'api/sites/{site}/{rest}', $serve('site'))->where('rest', '.+');
$router->addRoute($methods, 'api/export/{rest}', $serve('query'))->where('rest', '.+');
$router->addRoute($methods, 'static/{rest}', $serve('static'))->where('rest', '.+');
$router->addRoute($methods, '{rest?}', $serve('none'))->where('rest', '.*');
echo $router->dispatch($request)->getContent();
