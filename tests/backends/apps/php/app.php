<?php
// A PHP application that routes by the URI of the request.
require __DIR__ . '/read.php';
$path = rawurldecode(explode('?', $_SERVER['REQUEST_URI'], 2)[0]);
[$endpoint, $site] = endpoint_of($path);
answer($endpoint, $site, [
    ['query', '$_GET', flat($_GET['site'] ?? null)],
    ['merged', '$_REQUEST', flat($_REQUEST['site'] ?? null)],
]);
