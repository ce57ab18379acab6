<?php
// The target of rewritten site paths, which receives the site as a parameter.
require __DIR__ . '/read.php';
$reads = [['path', '$_REQUEST[site]', flat($_REQUEST['site'] ?? null)]];
answer('site', flat($_GET['site'] ?? null)[0] ?? null, $reads);
