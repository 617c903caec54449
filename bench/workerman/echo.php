<?php
// An echo with https://manual.workerman.net/doc/en/, with TLS if requested; `?all` broadcasts.
// /mounted is the directory in which Composer has installed it.

use Workerman\Connection\TcpConnection;
use Workerman\Protocols\Http\Request;
use Workerman\Worker;

require '/mounted/vendor/autoload.php';

$tls = in_array('tls', $argv, true);
$argv = [$argv[0], 'start'];
$context = $tls ? ['ssl' => ['local_cert' => '/tls/server.pem', 'local_pk' => '/tls/server.key']] : [];
Worker::$pidFile = '/tmp/workerman.pid';
Worker::$logFile = '/dev/null';
Worker::$statusFile = '/tmp/workerman.status';
TcpConnection::$defaultMaxPackageSize = 4 << 20;
TcpConnection::$defaultMaxSendBufferSize = 64 << 20;

$all = new SplObjectStorage();
$worker = new Worker('websocket://0.0.0.0:9000', $context);
if ($tls) {
    $worker->transport = 'ssl';
}
$worker->onWebSocketConnect = function (TcpConnection $connection, Request $request) use ($all): void {
    if ($request->queryString() === 'all') {
        $all->attach($connection);
    }
};
$worker->onMessage = function (TcpConnection $connection, string $message) use ($all): void {
    if (!$all->contains($connection)) {
        $connection->send($message);
        return;
    }
    foreach ($all as $each) {
        $each->send($message);
    }
};
$worker->onClose = fn (TcpConnection $connection) => $all->detach($connection);
Worker::runAll();
