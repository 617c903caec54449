<?php
// Workerman (https://www.workerman.net): an echo on port 8282. `php start.php start`

use Workerman\Connection\TcpConnection;
use Workerman\Protocols\Http\Request;
use Workerman\Timer;
use Workerman\Worker;

require_once __DIR__ . '/vendor/autoload.php';

Worker::$pidFile = '/tmp/workerman.pid';
Worker::$logFile = '/tmp/workerman.log';

// Plain ws: the proxy terminates TLS, so there is no `transport = 'ssl'`.
$worker = new Worker('websocket://0.0.0.0:8282');
$worker->count = 4;

$worker->onWebSocketConnect = function (TcpConnection $connection, Request $request) {
    // getRemoteIp() returns the proxy's address.
    echo $request->header('x-real-ip'), " is connected\n";
};

$worker->onMessage = function (TcpConnection $connection, string $data) {
    $connection->send($data);
};

// Workerman does not ping by itself. This is an empty ping frame (RFC 6455 section 5.5.2).
$worker->onWorkerStart = function (Worker $worker) {
    Timer::add(20, function () use ($worker) {
        foreach ($worker->connections as $connection) {
            $connection->send("\x89\x00", true);
        }
    });
};

// A close frame with code 1012 (restart): without it, clients see 1006 at a stop.
$worker->onWorkerStop = function (Worker $worker) {
    foreach ($worker->connections as $connection) {
        $connection->close("\x88\x02\x03\xf4", true);
    }
};

Worker::runAll();
