<?php
// A front controller that routes by the parameter q, set by `RewriteRule ^(.*)$ index.php?q=$1 [QSA]`.
require __DIR__ . '/read.php';
[$endpoint, $site] = endpoint_of('/' . ltrim(flat($_GET['q'] ?? '')[0] ?? '', '/'));
answer($endpoint, $site, [
    ['query', '$_GET', flat($_GET['site'] ?? null)],
    ['merged', '$_REQUEST', flat($_REQUEST['site'] ?? null)],
]);
